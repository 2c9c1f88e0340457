"""What every entry point does first: one line for an old Python; an end at once when it is interrupted."""

from __future__ import annotations

import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, Kit
from documents import violation
from starting import start_python

import kit as package

# Read by an old Python before it is told so.
FIRST = (
    "inference.py",
    "compare_accuracy.py",
    "kit/__init__.py",
    "kit/__main__.py",
    "kit/machine/interrupts.py",
    "installed_torch/pins.py",
    "npu_host/backend.py",
)
ENTRIES = (("inference.py",), ("compare_accuracy.py",), ("-m", "kit", "doctor"), ("-m", "kit"))
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A bound on waiting: on a quiet machine none takes a second.
PATIENCE_SECONDS = 20
COLD = {"PYTHONHASHSEED": "0"}


# ---- an old Python -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIRST)
def test_what_an_old_python_reads_first_it_can_read(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 7))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in imported


def old_pythons() -> list[Path]:
    """Those that are installed here: beside each other under pyenv, or on the path."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {
        version: path
        for path in sorted(root.glob("versions/3.*/bin/python"))
        if (version := tuple(map(int, path.parts[-3].split(".")[:2]))) >= (3, 6)
    }
    for minor in range(6, 11):
        if path := shutil.which(f"python3.{minor}"):
            found.setdefault((3, minor), Path(path))
    old = [path for version, path in sorted(found.items()) if version < package.OLDEST_PYTHON]
    # A launcher of that name may be there without its Python.
    return [path for path in old if subprocess.run([path, "-c", ""]).returncode == 0]


def test_an_old_python_gets_one_line_from_every_entry_point() -> None:
    if not (pythons := old_pythons()):
        pytest.skip("no Python older than 3.11 is installed")
    for python in pythons:
        for entry in ENTRIES:
            ended = subprocess.run(
                [python, *entry], cwd=ROOT, stdout=-1, stderr=-1, encoding="utf-8", env={}
            )
            assert (ended.returncode, ended.stdout) == (3, "")
            [line] = ended.stderr.splitlines()
            assert line.startswith("error: this needs Python 3.11 or newer"), python


def test_one_oldest_python() -> None:
    oldest = ".".join(map(str, package.OLDEST_PYTHON))
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'_PYTHON = "{oldest}"' in (ROOT / "installed_torch" / "pins.py").read_text("utf-8")


# ---- interrupts --------------------------------------------------------------------------------

PLACES = {
    # Python ignores every exception there, a KeyboardInterrupt too.
    "__del__": "class A:\n def __del__(self):\n  say()\n  while True: pass\nA()",
    "a weakref's callback": """
import weakref
class A: pass
def called(_):
    say()
    while True: pass
a = A()
held = weakref.ref(a, called)
del a""",
    "a library's call": "import hashlib; say(); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "a handler of all exceptions": """
say()
while True:
    try: sum(range(1000))
    except BaseException: pass""",
    "a thread that is waited for": """
import threading, time
say(); t = threading.Thread(target=time.sleep, args=(1e6,)); t.start(); t.join()""",
    "a redirected stderr": "import os, time; os.dup2(1, 2); say(); time.sleep(1e6)",
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_interrupt_is_heeded_wherever_it_lands(kit: Kit, place: str, number: int) -> None:
    head = "import kit.machine.interrupts\ndef say(): print('there', flush=True)\n"
    process = start_python("-c", head + place, env=kit.environment())
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_an_ignored_signal_stays_ignored(kit: Kit) -> None:
    """As in the background of a shell."""
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import kit.machine.interrupts
os.kill(os.getpid(), signal.SIGINT)
print("goes on")"""
    process = start_python("-c", code, env=kit.environment())
    assert process.communicate(timeout=60) == ("goes on\n", "") and process.returncode == 0


def test_a_forked_child_has_its_own_signals(kit: Kit) -> None:
    code = """
import os, signal, time
import kit.machine.interrupts
for pause in [0] * 40 + [0.01] * 10:
    if (child := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(pause)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
print("goes on")"""
    process = start_python("-c", code, env=kit.environment())
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("goes on\n", 0) and "interrupted" not in err


def test_nobody_who_reads_no_more_holds_an_interrupted_run(kit: Kit) -> None:
    code = """
import os, kit.machine.interrupts
os.set_blocking(2, False)
try:
    while True: os.write(2, b"x" * 4096)
except BlockingIOError: os.set_blocking(2, True)
print("full", flush=True)
while True: pass"""
    process = start_python("-c", code, env=kit.environment())
    assert process.stdout is not None and process.stdout.readline() == "full\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    process.communicate(timeout=60)


def interrupt_at_random(kit: Kit, script: str, arguments: tuple[str, ...], times: int) -> None:
    """Interrupt a script `times` times within the time that it takes; many times, it is started cold."""
    cold = COLD if times > 10 else {}
    begun = time.monotonic()
    assert kit.run(script, *arguments, **cold).code == 0
    seconds = time.monotonic() - begun
    moments = random.Random(f"{script} {times}")
    ends = []
    for _ in range(times):
        process = kit.popen(script, *arguments, **cold)
        time.sleep(moments.uniform(0, seconds))
        number = moments.choice(SIGNALS)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        # Done already; told; or ended before its first line, as Python itself does.
        assert process.returncode in (0, 130, -number), err
        assert process.returncode != 130 or err.endswith("interrupted\n")
        ends.append(process.returncode)
        for name in ("run", "summary"):
            if (kit.logs / f"{name}.json").exists():
                assert violation(name, kit.read(f"{name}.json")) is None
    assert 130 in ends


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.parametrize("script", ["inference.py", "compare_accuracy.py"])
def test_interrupts_at_random_moments(vit_run: Kit, script: str, times: int) -> None:
    interrupt_at_random(vit_run, script, SMALL if script == "inference.py" else (), times)


def test_the_readme_begins_with_a_bare_python3() -> None:
    """.ci/run takes both lines from there."""
    text = (ROOT / "README.md").read_text("utf-8")
    first, second = re.findall(r"^python3 -m venv .*$", text, re.MULTILINE)
    enter = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements"
    assert first == f"{enter}.txt && python inference.py && python compare_accuracy.py"
    assert second == f"{enter}-dev.txt && pytest"
    assert sys.version_info >= package.OLDEST_PYTHON


@pytest.mark.parametrize(
    "entry", [["inference.py"], ["compare_accuracy.py"], ["-m", "kit", "report"]], ids=" ".join
)
def test_outside_its_environment_one_line_names_what_is_missing(entry: list[str]) -> None:
    process = subprocess.run(
        [sys.executable, "-S", *entry], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 3 and process.stdout == ""
    [line] = process.stderr.splitlines()
    what = "error: the package (filelock|msgspec) is not installed; enter the virtual environment"
    assert re.match(what, line)
