"""python -m kit diff: what two runs do not share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import SMALL, Kit, Result


def diff(kit: Kit, *arguments: object) -> Result:
    return kit.command("diff", *arguments)


def edit(folder: Path, name: str, **changes: object) -> None:
    document = json.loads((folder / name).read_text())
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        place = document
        for key in path:
            place = place[key]
        place[last] = value
    (folder / name).write_text(json.dumps(document))


def test_a_run_does_not_differ_from_itself(vit_run: Kit) -> None:
    other = vit_run.scratch / "other"
    shutil.copytree(vit_run.logs, other)
    edit(other, "run.json", started_at="2020-01-01T00:00:00+00:00")
    result = diff(vit_run, vit_run.logs, other)
    assert (result.code, result.out.strip()) == (0, "nothing differs")


@pytest.mark.full
def test_precision_of_two_runs(vit_run: Kit) -> None:
    """An A/B of HF32: the flags, the outputs, and how near each came to the CPU."""
    strict = vit_run.scratch / "strict"
    assert vit_run.compare().code == 0
    assert vit_run.infer(*SMALL, "--precision", "strict", "--logs", strict).code == 0
    assert vit_run.compare("--logs", strict).code == 0
    result = diff(vit_run, vit_run.logs, strict, "--json")
    assert result.code == 1
    found = json.loads(result.out)
    assert found["arguments"] == {"arguments.precision": ["default", "strict"]}
    assert any(
        "allow_hf32" in name and pair == [True, False] for name, pair in found["precision"].items()
    )
    assert "outputs.features.sha256" in found["outputs"]
    before, after = found["accuracy"]["outputs.features.metrics.relative_l2"]
    assert after < before
    assert "weights" not in found and "input" not in found and "device" not in found
    text = diff(vit_run, vit_run.logs, strict).out
    assert "arguments.precision: default -> strict" in text


def test_environment_weights_and_latency(vit_run: Kit) -> None:
    other = vit_run.scratch / "other"
    shutil.copytree(vit_run.logs, other)
    edit(
        other,
        "run.json",
        environment__packages__torch="2.9.0",
        environment__variables__OMP_NUM_THREADS="64",
        weights__fingerprint="0" * 64,
        latency__mean_ms=1e5,
    )
    found = json.loads(diff(vit_run, vit_run.logs, other, "--json").out)
    assert found["environment"]["environment.packages.torch"][1] == "2.9.0"
    assert found["environment"]["environment.variables.OMP_NUM_THREADS"] == ["1", "64"]
    assert found["weights"]["weights.fingerprint"][1] == "0" * 64
    assert found["latency"]["mean_ms"][1] == 1e5


def test_bad_runs(vit_run: Kit) -> None:
    assert "is no folder" in diff(vit_run, vit_run.logs, vit_run.scratch / "none").error
    empty = vit_run.scratch / "empty"
    empty.mkdir()
    result = diff(vit_run, vit_run.logs, empty)
    assert result.code == 2 and "run inference.py" in result.error
    (vit_run.logs / "run.json").write_text("{}")
    assert diff(vit_run, vit_run.logs, vit_run.logs).code == 4
