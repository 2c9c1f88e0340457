"""Every model of this checkout through both scripts: on the simulated NPU, and on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK, Finished, Kit

from kit.models.known import load_adapter, model_names

MODELS = model_names()
# What the two published reports show, under the names of summary.json; those of RANKED where an output
# of the timed forward has classes or tokens, and of the text where the model reads one.
REPORT_FIELDS = """
    model vendor task source_url status device device_name device_count reference_device pretrained_used
    local_weight_used fallback_used fallback_reason input output_shape max_abs_diff mean_abs_diff
    cosine_similarity torch_allclose_atol_5e-2_rtol_1e-2 match_within_1_percent
    match_basis latency_ms verdict
""".split()
RANKED_FIELDS = ["top1_match", "top5_match"]


def fields_of(model: str) -> list[str]:
    """The report's fields that a model has, by what it declares."""
    adapter = load_adapter(model)
    ranked = any(spec.role == "logits" for spec in adapter.outputs.values())
    given = adapter.load_input(None, {})
    text = ["input_tokens"] if given.input_tokens is not None else []
    decoder = ["decoder_input"] if given.decoder_input is not None else []
    return REPORT_FIELDS + RANKED_FIELDS * ranked + text + decoder


@pytest.mark.parametrize("model", MODELS)
def test_simulated_npu_run_carries_every_field_of_the_report(
    finished: Finished, model: str
) -> None:
    npu = finished(model, compared=False)
    said = (npu.logs / "run_npu.log").read_text()
    assert "device npu:0 (Simulated NPU" in said and "RANDOM WEIGHTS" in said
    assert npu.summary["verdict"] == "NOT_COMPARED"
    assert npu.record["weights"]["parameters"] == load_adapter(model).info.parameters

    npu = finished(model)
    summary = npu.summary
    blank = [name for name in fields_of(model) if summary[name] in (None, "", [])]
    assert not blank
    assert summary["verdict"] == "PASS"
    assert "Simulated NPU" in summary["device_name"]
    assert summary["npu_latency_ms"] is None
    assert summary["submission_ready"] is False
    assert summary["device_proof"]["simulated"] is True
    if summary["input_tokens"] is None:
        # HF32 convolutions and the tanh GELU: the device's arithmetic is not the CPU's, and it shows.
        assert summary["max_abs_diff"] > 0
    assert summary["fallback_reason"] in (npu.logs / "run_npu.log").read_text()
    log = (npu.logs / "accuracy_compare.log").read_text()
    assert f"max_abs_diff: {summary['max_abs_diff']}" in log
    assert "FAILED" in (npu.logs / "pretrained_attempt.log").read_text()


@pytest.mark.parametrize(
    "model",
    [
        # With a file of 300 MB, long enough to be left to .ci/full where there is another model.
        pytest.param(name, marks=pytest.mark.full if MODELS[1:] and "t5" in name else ())
        for name in MODELS
    ],
)
def test_cpu_run_with_a_weights_file_is_a_self_check(
    kit: Kit, model: str, weights_of: Callable[[str], Path]
) -> None:
    path = weights_of(model)
    result = kit.infer("--model", model, *QUICK, "--weights", path, "--require-pretrained")
    assert result.code == 0, result.err
    first = result.out.splitlines()[0]
    assert first.startswith("device cpu (") and "no npu: torch_npu is not installed" in first
    assert "RANDOM" not in result.err
    weights = kit.record["weights"]
    assert weights["files"][0]["hash_origin"] == "computed"
    assert weights["parameters"] == load_adapter(model).info.parameters
    assert kit.compare().code == 0
    summary = kit.summary
    assert summary["verdict"] == "SELF_CHECK"
    assert summary["weight_path"] == "file:model.safetensors"
    assert (summary["pretrained_used"], summary["local_weight_used"]) == (None, True)
    assert "matches no published hash" in summary["null_reasons"]["pretrained_used"]
    assert summary["fallback_used"] is False
    assert summary["npu_latency_ms"] is None
    for name in ("run.json", "summary.json", "accuracy_compare.log", "pretrained_attempt.log"):
        assert str(kit.scratch) not in (kit.logs / name).read_text(), "a path of this machine"
