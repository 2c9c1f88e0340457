"""Random edits of any file of logs/, by seed: what the files can contradict is never shown."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Finished, Kit
from documents import leaves

REPORTS = ("report.md", "report.en.md", "report.html")
# What no file of logs/ can contradict: the author's word, as README says. By the field's path in run.json
# and summary.json.
AUTHORS_WORD = (
    "environment.",
    "reference.environment.",
    "arguments.",  # the command line that was typed
    "latency.cold_ms",
    "weights.attempts.",
    "weights.parameters",  # of a model that no declaration counts; comparing counts them
    "weights.seed",
    "device.",
    "device_proof.",
    "described.top5.",  # names of classes: figures are measured again
    "input.",
    "noise.",  # of runs whose outputs are not kept
    "explanation.behaviours.",  # emulated
    "explanation.outputs.",  # shares of what was emulated; the errors are measured again
    "model.",
    "started",
    "finished",
)
# Lines that say what is missing or damaged.
HONEST = ("charts.json", "没有写出", "was not written", "layers.csv")


def another(value: Any, dice: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return dice.choice([value * 1.01 + 1, value * 0.9, 0, -value, value * 2 + 1])
    if value is None:
        return dice.choice(["x", 0, True])
    return dice.choice([value + "x", value[::-1], "", value.replace("a", "b") + "0"])


def edit_value(logs: Path, dice: random.Random) -> str:
    """One value of a document."""
    name = dice.choice(["run.json", "summary.json", "charts.json"])
    document = json.loads((logs / name).read_text("utf-8"))
    path, holder, key = dice.choice([*leaves(document)])
    holder[key] = another(holder[key], dice)
    (logs / name).write_text(json.dumps(document), "utf-8")
    return f"charts.json {path}" if name == "charts.json" else path


def edit_everywhere(logs: Path, dice: random.Random) -> str:
    """One value wherever it stands, in every text."""
    document = json.loads((logs / dice.choice(["run.json", "summary.json"])).read_text("utf-8"))
    told = [
        (path, holder[key])
        for path, holder, key in leaves(document)
        if not isinstance(holder[key], bool) and len(json.dumps(holder[key])) > 4
    ]
    path, value = dice.choice(told)
    changed = another(value, dice) or "x"
    before, after = (
        each if isinstance(each, str) else json.dumps(each) for each in (value, changed)
    )
    for file in files(logs):
        if file.suffix in (".json", ".md", ".html", ".log", ".csv"):
            with suppress(UnicodeDecodeError):
                file.write_text(file.read_text("utf-8").replace(before, after), "utf-8")
    return path


def files(logs: Path) -> list[Path]:
    return sorted(path for path in logs.rglob("*") if path.is_file() and path.name != ".lock")


def flip_a_bit(logs: Path, dice: random.Random) -> str:
    file = dice.choice([each for each in files(logs) if each.stat().st_size])
    data = bytearray(file.read_bytes())
    at = dice.randrange(len(data))
    data[at] ^= 1 << dice.randrange(7)
    file.write_bytes(data)
    return ""


def exchange(logs: Path, dice: random.Random) -> str:
    one, other = dice.sample(files(logs), 2)
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)
    return ""


def link(logs: Path, dice: random.Random) -> str:
    one, other = dice.sample(files(logs), 2)
    one.unlink()
    one.symlink_to(other)
    return ""


def rename(logs: Path, dice: random.Random) -> str:
    file = dice.choice(files(logs))
    file.rename(file.with_name(f"x{file.name}"))
    return ""


def append(logs: Path, dice: random.Random) -> str:
    file = dice.choice(files(logs))
    file.write_bytes(file.read_bytes() + b"\nPASS 1.0\n")
    return ""


EDITS: list[Callable[[Path, random.Random], str]] = [
    *[edit_value] * 6, *[edit_everywhere] * 4, flip_a_bit, exchange, link, rename, append,
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "seed"), [(4, 0), *(pytest.param(100, n, marks=pytest.mark.full) for n in (1, 2, 3))]
)
def test_what_the_files_contradict_is_not_shown(
    finished: Finished, npu: Kit, tmp_path: Path, number: int, seed: int
) -> None:
    """One to three edits each: refused, or the report is the one before, or what is new in it rests on the
    author's word alone or says what is missing."""
    shutil.copytree(finished(SMALL[1]).logs, npu.logs)
    command = ("report", "--logs", npu.logs, "--lang", "both")
    assert npu.command(*command).code == 0
    whole = shutil.copytree(npu.logs, tmp_path / "whole")
    dice = random.Random(seed)
    for _ in range(number):
        shutil.rmtree(npu.logs)
        shutil.copytree(whole, npu.logs)
        edited = []
        for _ in range(dice.randint(1, 3)):
            with suppress(ValueError, OSError):  # what an edit before it broke
                edited.append(dice.choice(EDITS)(npu.logs, dice))
        result = npu.command(*command)
        if result.code:
            assert result.error, edited
            assert not any((npu.logs / name).exists() for name in REPORTS), edited
        elif any(new_lines(whole / name, npu.logs / name) for name in REPORTS):
            others = [path for path in edited if path and not path.startswith("charts.json ")]
            assert all(path.startswith(AUTHORS_WORD) for path in others), edited


def new_lines(before: Path, after: Path) -> list[str]:
    """What a report says that it did not say before, but for what is missing."""
    known = set(before.read_text("utf-8").splitlines())
    return [
        line
        for line in after.read_text("utf-8").splitlines()
        if line not in known and not any(words in line for words in HONEST)
    ]
