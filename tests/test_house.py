"""Who may import whom, and what --help may cost."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from starting import imported

HEAVY = {"torch", "transformers", "timm", "torchvision", "numpy", "huggingface_hub", "torch_npu"}
# Of the standard library: each costs --help some milliseconds, and is of a later step.
LATER = {"ctypes", "email", "importlib.metadata", "statistics", "tomllib", "zipfile"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def sources(*patterns: str) -> list[Path]:
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert found
    return found


def test_torch_npu_is_named_in_one_file() -> None:
    for path in sources("*.py", "kit/**/*.py", "models/**/*.py"):
        if path != ROOT / "kit" / "devices" / "npu.py":
            names = list(imports(path))
            assert not [name for name in names if name.startswith("torch_npu")], path
            assert "torch.npu" not in path.read_text("utf-8"), path


# From the roof to the ground: each imports of itself, of those below it, kit.documented, kit.errors and
# kit.words.
ROOMS = (
    *("doctor", "publish", "lint", "report", "explain", "run", "evidence", "devices", "arithmetic"),
    *("weights", "models", "accuracy", "machine", "storage"),
)
LOOSE = {"__init__.py", "__main__.py", "documented.py", "entry.py", "errors.py", "words.py"}
ALONE = {"accuracy"}  # an output is judged without knowing anything of runs, models or machines


def test_every_file_is_in_a_room() -> None:
    assert {path.name for path in sources("kit/*.py")} <= LOOSE
    assert {path.parent.name for path in sources("kit/*/__init__.py")} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_is_below(room: str) -> None:
    below = () if room in ALONE else ROOMS[ROOMS.index(room) + 1 :]
    for path in ROOT.glob(f"kit/{room}/**/*.py"):
        names = set(imports(path))
        allowed = {
            room,
            *below,
            "documented",
            "errors",
            "words",
            *(["entry"] if "argparse" in names else []),
        }
        for name in names:
            first, _, rest = name.partition(".")
            assert first not in ("inference", "compare_accuracy"), f"{path}: {name}"
            assert first != "kit" or not rest or rest.partition(".")[0] in allowed, (
                f"{path}: {name}"
            )


@pytest.mark.parametrize(
    ("files", "forbidden"),
    [
        ("kit/report/*.py", ("torch",)),
        ("kit/models/**/*.py", ("logging",)),
        ("models/**/*.py", ("sys", "argparse", "logging")),
        ("tests/simulated_npu/**/*.py", ("kit", "models")),
    ],
)
def test_what_is_not_imported(files: str, forbidden: tuple[str, ...]) -> None:
    for path in sources(files):
        assert not {name.partition(".")[0] for name in imports(path)} & {*forbidden}, path


def test_models_declare() -> None:
    """What a model's own folder imports of the kit: how to declare, and nothing that runs or writes."""
    for path in sources("models/**/*.py"):
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("kit.")}
        assert rooms <= {"models", "errors"}, path


@pytest.mark.parametrize("script", ["inference.py", "compare_accuracy.py"])
def test_help_imports_nothing_heavy(script: str) -> None:
    """The time itself is in benchmarks/; what costs it is here."""
    process, modules = imported(script, "--help")
    assert process.returncode == 0
    assert "usage:" in process.stdout
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    assert not LATER & modules


@pytest.mark.parametrize("script", ["inference.py", "compare_accuracy.py"])
def test_scripts_can_be_read_in_one_sitting(script: str) -> None:
    assert len((ROOT / script).read_text("utf-8").splitlines()) < 200


# What stands behind a separator in "what happened" and begins like this is a cure in the wrong field.
_CURE = re.compile(
    r"[:;,] (?:add|break|check|choose|correct|delete|edit|end|export|fetch|free|give|install|leave|make|"
    r"move|name|pass|pip|put|python|raise|remove|rename|run|save|say|see|set|take|try|unset|use|wait|write)\b"
)


def test_an_error_keeps_its_cure_in_a_field_of_its_own() -> None:
    """mypy holds that each KitError has one, or None; here, that it does not stand in the other field."""
    seen = 0
    for path in sources("*.py", "kit/**/*.py", "models/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and is_fault(node):
                seen += 1
                assert not _CURE.search(constant_text(node.args[0])), f"{path}:{node.lineno}"
    assert seen > 200


# What is raised before a record is begun, or by a command that keeps none.
_BEFORE_A_RECORD = {
    "kit/machine/variables.py",
    "kit/models/known.py",
    *(f"kit/weights/{each}.py" for each in ("copies", "fetch", "find_model", "new", "repository")),
    "kit/weights/unpickled.py",
}


def test_what_a_record_keeps_of_an_error_is_of_the_catalogue() -> None:
    """What ends a run, and what was not to be had, goes on record with its cure and into both reports."""
    rooms = ("weights", "models", "devices", "arithmetic", "accuracy", "machine", "storage")
    kept = {path.relative_to(ROOT).as_posix() for path in sources("models/**/*.py")}
    kept |= {
        path.relative_to(ROOT).as_posix()
        for path in sources(*(f"kit/{room}/**/*.py" for room in rooms), "kit/evidence/logs.py")
    }
    kept -= _BEFORE_A_RECORD
    seen = 0
    for path in sources("*.py", "kit/**/*.py", "models/**/*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("kit/publish/", "kit/doctor/")):
            continue  # what they raise is about a record, and in none
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            # Evidence that is not to be trusted makes the summary INVALID, whoever sees it.
            if isinstance(node, ast.Call) and is_fault(node):
                if name not in kept and ast.unparse(node.func) != "UntrustedError":
                    continue
                seen += 1
                plain = [
                    part
                    for part in node.args[:2]
                    if isinstance(part, ast.JoinedStr)
                    or (isinstance(part, ast.Constant) and part.value is not None)
                ]
                assert not plain, f"{path}:{node.lineno}"
    assert seen > 100


def is_fault(call: ast.Call) -> bool:
    """Whether an error of the kit's own is made, by its name."""
    name = getattr(call.func, "id", "")
    return (
        name not in dir(builtins)
        and re.fullmatch(r"\w*(Error|Fault|Unavailable)", name) is not None
    )


def constant_text(text: ast.expr) -> str:
    """A text, or what of an f-string stands in the source."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
