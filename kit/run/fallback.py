"""Which operators fell back from the device to the CPU.

torch_npu says so once per operator and process, from C++, on file descriptor 2: neither
contextlib.redirect_stderr nor the warnings module sees it. So the descriptor itself is watched from
before the model is moved until the last timed run is over (an operator may fall back at its second call,
or in the last), and what was written is passed on afterwards.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kit.words import Reason

# torch_npu has several wordings for it (2.13.0 and 2.9.0.post2: `The operator 'aten::x.out' is not
# currently supported ... will fall back`, `The operator aten::x, ... will fallback to run on the CPU`,
# `CPU fallback is allowed because ... does not support operator 'aten::x'`): a line that names an
# operator and speaks of falling back.
_FALLBACK_LINE = re.compile(r"^(?=.*fall ?back).*?operator '?([\w]+::[\w.]+)", re.I | re.M)


@dataclass
class FallbackWatch:
    """`ops` that fell back (sorted); None, with the reason, where nobody could tell."""

    ops: list[str] | None = None
    reason: Reason | None = field(default_factory=lambda: Reason("passes_not_over"))

    def with_those_of(self, other: FallbackWatch) -> FallbackWatch:
        """Both together; unknown where either is."""
        if self.ops is None or other.ops is None:
            return FallbackWatch(None, self.reason or other.reason)
        return FallbackWatch(sorted({*self.ops, *other.ops}), None)


@contextmanager
def watch_fallbacks(device_kind: str, capture: Path) -> Iterator[FallbackWatch]:
    """Watch file descriptor 2 for fallback lines of torch_npu while the block runs.

    What is written meanwhile lies in the file `capture`: where a driver aborts the process, its last
    words stay there.
    """
    watch = FallbackWatch()
    if device_kind == "cpu":
        yield watch
        watch.ops, watch.reason = [], None
        return
    with _redirected_to(capture):
        yield watch
    text = _pass_on(capture)
    if device_kind == "npu" and (silencer := _silencer()):
        watch.reason = Reason("silenced", variable=silencer)
        return
    watch.ops, watch.reason = fallback_ops(text), None


def fallback_ops(text: str) -> list[str]:
    """The operators that fell back by what torch_npu wrote, each once."""
    return sorted(set(_FALLBACK_LINE.findall(text)))


@contextmanager
def _redirected_to(capture: Path) -> Iterator[None]:
    _flush()
    saved = os.dup(2)
    with capture.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    except BaseException:
        _restore(saved)
        _pass_on(capture)
        raise
    _restore(saved)


def _restore(saved: int) -> None:
    _flush()
    os.dup2(saved, 2)
    os.close(saved)


def _pass_on(capture: Path) -> str:
    """Write what was captured to stderr, where it would have gone, and remove the file."""
    if not capture.exists():
        return ""
    text = capture.read_text("utf-8", "replace")
    capture.unlink()
    with suppress(OSError):
        sys.stderr.write(text)
    return text


def _flush() -> None:
    """A console that takes nothing more must not fail a good run."""
    with suppress(OSError):
        sys.stderr.flush()


def _silencer() -> str | None:
    """The environment variable that keeps torch_npu from warning, where one does."""
    for name in ("TORCH_NPU_DISABLED_WARNING", "TORCH_NPU_WARNING_DISABLE"):
        if os.environ.get(name) == "1":
            return f"{name}=1"
    # torch's own C++ log level; and torch_npu warns on rank 0 only.
    if (level := os.environ.get("TORCH_CPP_LOG_LEVEL", "")).upper() in ("ERROR", "FATAL", "2", "3"):
        return f"TORCH_CPP_LOG_LEVEL={level}"
    if (rank := os.environ.get("RANK", "0")) != "0":
        return f"RANK={rank}"
    return None
