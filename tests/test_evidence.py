"""Evidence that was damaged, exchanged or never finished: exit 4, and the summary says INVALID."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Kit

from kit.errors import CannotRunError
from kit.evidence.layers import read_layers
from kit.evidence.logs import claim_logs
from kit.evidence.types.explanation import LayersFile


def edit(kit: Kit, change: Callable[[dict[str, Any]], object]) -> None:
    record = kit.record
    change(record)
    (kit.logs / "run.json").write_text(json.dumps(record))


def refused(kit: Kit, *words: str) -> None:
    """Comparing ends with exit 4, and the words are in the error and in the summary's reasons."""
    result = kit.compare()
    assert result.code == 4
    for word in words:
        assert word in result.error
    summary = kit.summary
    assert summary["verdict"] == "INVALID"
    assert summary["submission_ready"] is False
    assert summary["max_abs_diff"] is None
    for word in words[:1]:
        assert any(word in blocker for blocker in summary["submission_blockers"])
    assert "INVALID" in (kit.logs / "accuracy_compare.log").read_text()


def test_an_untouched_run_passes_and_then_a_damaged_one_does_not_keep_the_pass(
    vit_run: Kit,
) -> None:
    assert vit_run.compare().code == 0
    assert vit_run.summary["verdict"] == "PASS"
    (vit_run.logs / "outputs.safetensors").unlink()
    refused(vit_run, "outputs.safetensors is missing")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema_version": 1}', "\x00", '{"a": NaN}']
)
def test_damaged_record(vit_run: Kit, text: str) -> None:
    (vit_run.logs / "run.json").write_text(text)
    refused(vit_run, "run.json")


@pytest.mark.parametrize("text", ['"mean_ms": 1e999', '"mean_ms": -5.0', '"mean_ms": NaN'])
def test_impossible_figure(judged_run: Kit, text: str) -> None:
    path = judged_run.logs / "run.json"
    path.write_text(re.sub(r'"mean_ms": [\d.e-]+', text, path.read_text()))
    refused(judged_run, "run.json is damaged")


def test_record_that_vanished_beside_a_verdict(judged_run: Kit) -> None:
    (judged_run.logs / "run.json").unlink()
    refused(judged_run, "run.json is missing")


@pytest.mark.parametrize("name", ["run.json", "outputs.safetensors"])
def test_evidence_that_cannot_be_read_now_is_not_at_fault(judged_run: Kit, name: str) -> None:
    """A disk that fails, or a user who may not read a file, says nothing of what is in it."""
    path, summary = judged_run.logs / name, (judged_run.logs / "summary.json").read_bytes()
    path.unlink()
    path.symlink_to("/proc/self/mem")  # a regular file whose reading is an I/O error, also for root
    result = judged_run.compare()
    assert result.code == 3 and f"{name} cannot be read now (Input/output error)" in result.error
    assert (judged_run.logs / "summary.json").read_bytes() == summary


def test_module_calls_that_cannot_be_read_now_are_not_at_fault(tmp_path: Path) -> None:
    (tmp_path / "layers.csv").symlink_to("/proc/self/mem")
    described = LayersFile(sha256="0" * 64, checked=1, not_checked=0)
    with claim_logs(tmp_path) as logs, pytest.raises(CannotRunError, match="cannot be read now"):
        read_layers(logs, described)


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a simulated NPU made real": lambda record: record["device"].update(simulated=False),
    "another device": lambda record: record["device"].update(spec="npu:1"),
    "another kind": lambda record: record["device"].update(kind="cuda"),
    "pretrained": lambda record: record["weights"].update(pretrained_used=True),
    "no fallback": lambda record: record["weights"].update(fallback_used=False),
    "a path": lambda record: record["weights"].update(weight_path="hf-cache:x"),
    "other parameters": lambda record: record["weights"].update(parameters=1),
    "weights on the device": lambda record: record["device_proof"].update(
        weights_fingerprint="0" * 64
    ),
    "an output elsewhere": lambda record: record["device_proof"]["outputs"].update(logits="cpu"),
    "no second run": lambda record: record["noise"].update(device_repeat={}),
    "no proof": lambda record: record.update(device_proof=None),
    "no latency": lambda record: record.update(latency=None),
    "another shape": lambda record: record["outputs"]["features"].update(shape=[7, 7]),
    "another dtype": lambda record: record["outputs"]["features"].update(dtype="float64"),
    "a role": lambda record: record["model"]["outputs"]["logits"].update(role="features"),
}


@pytest.mark.parametrize(
    "forgery",
    [
        each if number % 3 == 0 else pytest.param(each, marks=pytest.mark.full)
        for number, each in enumerate(FORGERIES)
    ],
)
def test_record_that_contradicts_itself(judged_run: Kit, forgery: str) -> None:
    edit(judged_run, FORGERIES[forgery])
    refused(judged_run)


def test_a_computed_hash_called_published(vit_run: Kit, weights_of: Callable[[str], Path]) -> None:
    assert vit_run.infer(*SMALL, "--weights", weights_of(SMALL[1])).code == 0

    def forge(record: dict[str, Any]) -> None:
        record["weights"].update(pretrained_used=True)
        record["weights"]["files"][0].update(hash_origin="published")

    edit(vit_run, forge)
    refused(vit_run, "is called published")


def test_a_link_in_logs_is_not_written_through(vit_run: Kit, tmp_path: Path) -> None:
    log = vit_run.logs / "run_npu.log"
    log.unlink()
    log.symlink_to(tmp_path / "outside.txt")
    assert vit_run.compare().code == 4
    assert not (tmp_path / "outside.txt").exists()
    assert vit_run.infer(*SMALL).code == 0
    assert not (tmp_path / "outside.txt").exists()


def test_record_of_another_schema_version(vit_run: Kit) -> None:
    edit(vit_run, lambda record: record.update(schema_version=99))
    refused(vit_run, "schema_version 99")


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "evil.adapter", "os", "nowhere", "flan_t5_small"]
)
def test_record_that_names_another_model_folder(vit_run: Kit, name: str) -> None:
    edit(vit_run, lambda record: record["model"].update(adapter=name))
    refused(vit_run, "run.json")


@pytest.fixture(scope="module")
def _file_run(weights_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Kit:
    kit = Kit(tmp_path_factory.mktemp("vit_file"), simulated=True)
    assert kit.infer(*SMALL, "--weights", weights_of(SMALL[1])).code == 0
    return kit


@pytest.fixture
def file_run(_file_run: Kit, npu: Kit) -> Kit:
    """A run of a weights file, to be tampered with."""
    shutil.copytree(_file_run.logs, npu.logs)
    return npu


@pytest.mark.parametrize(
    "label",
    [
        "hf-cache:../../../etc/passwd",
        "hf-cache:/etc/passwd",
        "modelscope:../../secret/model.safetensors",
        "file:../../etc/passwd",
        "file:/etc/passwd",
        "ftp:somewhere",
        "model.safetensors",
    ],
)
def test_record_that_names_a_path_outside_its_roots(file_run: Kit, label: str) -> None:
    edit(file_run, lambda record: record["weights"].update(weight_path=label))
    refused(file_run, label)


@pytest.mark.parametrize("field", ["tensors", "dtypes", "initialised"])
def test_weights_of_which_the_record_says_something_else(file_run: Kit, field: str) -> None:
    """No declaration counts the tensors of a folder's model: what was loaded again tells."""

    def forge(record: dict[str, Any]) -> None:
        weights = record["weights"]
        counted, contents = weights["tensors"], weights["contents"]
        if field == "tensors":
            weights["tensors"] = counted + 1
        elif field == "dtypes":
            contents["dtypes"] = {"bfloat16": counted}
        else:
            contents["initialised"] = ["head.weight"]

    edit(file_run, forge)
    refused(file_run, "the record says")


@pytest.mark.parametrize("name", ["inputs.safetensors", "outputs.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "flipped bit",
        *(pytest.param(each, marks=pytest.mark.full) for each in ("truncated", "empty")),
        "exchanged",
    ],
)
def test_tensor_file_that_is_not_the_run_s(vit_run: Kit, name: str, damage: str) -> None:
    path = vit_run.logs / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "flipped bit":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "truncated":
        path.write_bytes(data[:-8])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        other = {"inputs.safetensors": "outputs", "outputs.safetensors": "inputs"}[name]
        path.write_bytes((vit_run.logs / f"{other}.safetensors").read_bytes())
    refused(vit_run, name)


def test_inputs_exchanged_together_with_their_hashes(vit_run: Kit) -> None:
    """The fingerprint is of all inputs together: matching hashes one by one are not enough."""
    edit(vit_run, lambda record: record["input"].update(fingerprint="0" * 64))
    refused(vit_run, "the fingerprint of the inputs")


def test_weights_fingerprint_differs(vit_run: Kit) -> None:
    edit(vit_run, lambda record: record["weights"].update(seed=record["weights"]["seed"] + 1))
    refused(vit_run, "the fingerprint of the weights")


def test_weights_file_exchanged_between_the_scripts(
    vit_run: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights_of(SMALL[1]).read_bytes())
    assert vit_run.infer(*SMALL, "--weights", path).code == 0
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert vit_run.compare().code == 3
    result = vit_run.compare("--weights", path)
    assert result.code == 2 and "model.safetensors has another sha256" in result.error
    assert vit_run.summary["verdict"] == "NOT_COMPARED", "the evidence is not at fault"


def test_weights_file_elsewhere_on_this_machine(
    vit_run: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    here = tmp_path / "model.safetensors"
    here.write_bytes(weights_of(SMALL[1]).read_bytes())
    assert vit_run.infer(*SMALL, "--weights", here).code == 0
    moved = tmp_path / "moved"
    moved.mkdir()
    here.rename(moved / "model.safetensors")
    result = vit_run.compare()
    assert result.code == 3
    assert "--weights PATH" in result.error
    assert vit_run.summary["verdict"] == "NOT_COMPARED"
    assert not [*vit_run.logs.glob(".comparison*")]
    for path in (moved, moved / "model.safetensors"):
        assert vit_run.compare("--weights", path).code == 0


@pytest.mark.parametrize("status", ["FAILED", "INTERRUPTED"])
def test_run_that_did_not_end_well(vit_run: Kit, status: str) -> None:
    edit(vit_run, lambda record: record.update(status=status))
    refused(vit_run, f"the run is {status}")


def test_a_run_that_was_ended_between_the_writes_of_its_documents(vit_run: Kit) -> None:
    """The summary is written first, and may know more than the record."""
    edit(vit_run, lambda record: record.update(status="INTERRUPTED", noise=None))
    path = vit_run.logs / "summary.json"
    summary = vit_run.summary | {"status": "INTERRUPTED"}
    path.write_text(json.dumps(summary), "utf-8")
    assert vit_run.summary["noise"] is not None
    result = vit_run.command("report", "--logs", vit_run.logs)
    assert result.code == 0, result.err
    assert "INTERRUPTED" in (vit_run.logs / "report.md").read_text("utf-8")


def test_rerunning_the_comparison_gives_the_same_summary(vit_run: Kit) -> None:
    explained = ("--explain", "on")  # else as much as the time allows
    assert vit_run.compare(*explained).code == 0
    first = vit_run.summary
    assert vit_run.compare(*explained).code == 0
    second = vit_run.summary
    for summary in (first, second):  # what other programs do meanwhile
        for name in ("load_average", "idle_cores"):
            del summary["reference"]["environment"][name]
    assert second == first


def test_the_comparison_needs_nothing_but_logs(vit_run: Kit, kit: Kit) -> None:
    """Another machine: no torch_npu there, another home, the folder copied."""
    vit_run.simulated = False
    elsewhere = vit_run.scratch / "elsewhere"
    elsewhere.mkdir()
    vit_run.logs = vit_run.logs.rename(elsewhere / "copied")
    assert vit_run.compare().code == 0
    assert vit_run.summary["verdict"] == "PASS"
