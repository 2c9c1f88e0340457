"""Which operators fell back from the device to the CPU.

torch_npu says so once per operator and process, from C++, on file descriptor 2: neither
contextlib.redirect_stderr nor the warnings module sees it. So the descriptor itself is watched while
the first passes run, and what was written is passed on afterwards.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# All wordings of torch_npu 2.13.0 and 2.9.0.post2: `The operator 'aten::x.out' is not currently
# supported ...` and, for explicit fallbacks, `The operator aten::x, ... is currently not supported`.
_FALLBACK = re.compile(
    r"CAUTION: The operator '?([\w:.]+)'?.{0,200}?(?:not currently|currently not) supported",
    re.DOTALL,
)
_SILENCERS = ("TORCH_NPU_DISABLED_WARNING", "TORCH_NPU_WARNING_DISABLE")


@dataclass
class FallbackWatch:
    """`ops` that fell back (sorted); None, with the reason, where nobody could tell."""

    ops: list[str] | None = None
    reason: str | None = "the run ended before the first pass was over"
    text: str = field(default="", repr=False)


@contextmanager
def watch_fallbacks(device_kind: str) -> Iterator[FallbackWatch]:
    """Watch file descriptor 2 for fallback lines of torch_npu while the block runs."""
    watch = FallbackWatch()
    if device_kind == "cpu":
        yield watch
        watch.ops, watch.reason = [], None
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as capture:
        os.dup2(capture.fileno(), 2)
        try:
            yield watch
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            capture.seek(0)
            watch.text = capture.read().decode("utf-8", "replace")
            sys.stderr.write(watch.text)
    silenced = [name for name in _SILENCERS if os.environ.get(name) == "1"]
    if silenced and device_kind == "npu":
        watch.reason = f"{silenced[0]}=1 silences torch_npu's fallback warnings: unset it"
        return
    watch.ops, watch.reason = sorted(set(_FALLBACK.findall(watch.text))), None
