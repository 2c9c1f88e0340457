"""A forked process is what a new Python would be: the tests that use it would lie otherwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SIMULATED_NPU, Kit, ended
from starting import SERVER, can_fork, start_python

STATE = """
import json, os, signal, sys, threading, logging
import huggingface_hub.constants
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "environment": dict(os.environ),
    "stdin": sys.stdin.read(), "name": __name__, "threads": threading.active_count(),
    "streams": [[s.encoding, s.errors, s.fileno()] for s in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(n)) for n in (2, 13, 15, 17)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": [n for n in range(100) if os.path.exists(f"/proc/self/fd/{n}")],
    "kit": [n for n in sys.modules if n.partition(".")[0] in ("kit", "models", "torch_npu")],
    "handlers": len(logging.getLogger().handlers), "umask": os.umask(0o22),
    "hub": huggingface_hub.constants.ENDPOINT,
}))
sys.exit(7)
"""


@pytest.fixture(autouse=True)
def served() -> None:
    if SERVER not in os.environ:
        pytest.skip("no fork server: every process starts cold")


def both(*argv: object, environment: dict[str, str], cwd: Path) -> tuple[object, ...]:
    """How the same Python ends, forked and started cold."""
    ends = []
    for more in ({}, {"KIT_TESTS_COLD": "1"}):
        assert can_fork(environment | more) is not bool(more)
        process = start_python(*argv, env=environment | more, cwd=cwd)
        assert isinstance(process, subprocess.Popen) is bool(more)
        ends.append(ended(process))
    return tuple(ends)


def test_the_state_at_the_first_line(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(STATE)
    environment = kit.environment(
        PYTHONPATH=str(SIMULATED_NPU), KIT_X="ä\\n", HF_ENDPOINT="http://x"
    )
    forms = (["state.py", "a", "ü b"], ["-m", "state", "c"], ["-c", STATE, "d"])
    for argv in forms:
        forked, cold = both(*argv, environment=environment, cwd=tmp_path)
        states = [json.loads(end.out) for end in (forked, cold)]
        del states[1]["environment"]["KIT_TESTS_COLD"]
        assert states[0] == states[1]
        assert (forked.code, cold.code) == (7, 7)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit('words')",
        "raise ValueError('ä')",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "raise KeyboardInterrupt",
        "import os; os.abort()",
        "import atexit; atexit.register(print, 'at exit'); print('first')",
        "import sys; sys.stdout.write('no newline')",
        "import os; os.write(1, bytes(200_000)); os.write(2, bytes(200_000))",
    ],
)
def test_the_end(kit: Kit, tmp_path: Path, code: str) -> None:
    forked, cold = both("-c", code, environment=kit.environment(), cwd=tmp_path)
    assert (forked.code, forked.out) == (cold.code, cold.out)
    assert forked.err.splitlines()[-1:] == cold.err.splitlines()[-1:]


def test_what_a_library_reads_while_it_is_imported_starts_cold(kit: Kit, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "torch_npu").mkdir(parents=True)
    assert can_fork(kit.environment(PYTHONPATH=str(site)))
    (site / "sitecustomize.py").touch()
    assert not can_fork(kit.environment(PYTHONPATH=str(site)))
    for name, value in {"OMP_NUM_THREADS": "2", "LC_ALL": "C", "PYTHONHASHSEED": "1"}.items():
        assert not can_fork(kit.environment(**{name: value})), name


def test_waiting_and_signals(kit: Kit) -> None:
    process = start_python("-c", "import time; time.sleep(60)", env=kit.environment())
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == process.poll() == -signal.SIGKILL
    process.communicate(timeout=30)
