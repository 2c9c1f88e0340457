"""A run does not fail, and writes nothing elsewhere, where its console is closed or takes nothing more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# What inference.py does around its passes, without a model: torch_npu speaks on descriptor 2.
WATCHING = """
import contextlib, json, os, sys
from pathlib import Path
import kit.machine.interrupts
from kit.run.fallback import watch_fallbacks

with contextlib.suppress(OSError):  # as what the kit and libraries say before is
    sys.stderr.write("before")
with open("evidence", "w") as evidence, watch_fallbacks("npu", Path("capture")) as watch:
    os.write(2, b"The operator aten::x is not supported and will fall back to the CPU\\n")
    taken = evidence.fileno()
for descriptor in (1, 2):
    with contextlib.suppress(OSError):
        os.write(descriptor, b"a library's line")
Path("found.json").write_text(json.dumps([watch.ops, taken > 2, Path("evidence").read_text()]))
"""


@pytest.mark.parametrize(
    "console", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2>/dev/full", "1>/dev/full 2>/dev/full"]
)
def test_a_console_that_is_gone(console: str, tmp_path: Path) -> None:
    command = f'exec "$0" -c "$1" {console}'
    environment = {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        ["sh", "-c", command, sys.executable, WATCHING],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,  # Python itself ends with 120 where stderr cannot be flushed
    )
    assert json.loads((tmp_path / "found.json").read_text()) == [["aten::x"], True, ""]
