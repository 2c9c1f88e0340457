"""Who may import whom, and what --help may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

HEAVY = {"torch", "transformers", "timm", "torchvision", "numpy", "huggingface_hub", "torch_npu"}


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


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("kit/**/*.py", ("inference", "compare_accuracy")),
        ("kit/accuracy/*.py", ("kit.run", "kit.weights", "kit.devices", "kit.logs")),
        ("kit/report/*.py", ("kit.run", "kit.weights", "torch")),
        ("kit/weights/*.py", ("kit.run", "kit.accuracy", "kit.logs", "kit.devices")),
        ("kit/families/*.py", ("kit.run", "kit.accuracy", "kit.devices", "kit.logs", "logging")),
        ("models/**/*.py", ("kit.run", "kit.weights", "kit.accuracy", "kit.devices", "kit.logs")),
        ("models/**/*.py", ("sys", "argparse", "logging")),
        ("tests/simulated_npu/**/*.py", ("kit", "models")),
    ],
)
def test_import_direction(room: str, forbidden: tuple[str, ...]) -> None:
    for path in sources(room):
        for name in imports(path):
            for other in forbidden:
                assert name != other and not name.startswith(f"{other}."), f"{path}: {name}"


@pytest.mark.parametrize("script", ["inference.py", "compare_accuracy.py"])
def test_help_imports_nothing_heavy(script: str) -> None:
    """The time itself is in benchmarks/; what costs it is here."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", script, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0
    assert "usage:" in process.stdout
    modules = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert not HEAVY & {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("script", ["inference.py", "compare_accuracy.py"])
def test_scripts_can_be_read_in_one_sitting(script: str) -> None:
    assert len((ROOT / script).read_text("utf-8").splitlines()) < 200
