"""A device that misbehaves, through both scripts: what is wrong must be seen, and never passes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, SMALL, Kit

NORM = "aten::native_layer_norm"


def judged(npu: Kit, code: int, **switches: str) -> dict[str, object]:
    result = npu.infer(*SMALL, **switches)
    assert result.code == 0, result.err
    assert npu.compare(**switches).code == code
    return npu.summary


def test_planted_fault_fails(npu: Kit) -> None:
    summary = judged(npu, 1, SIM_NPU_FAULT="aten::native_layer_norm:*:1.2")
    assert summary["verdict"] == "FAIL"
    assert summary["match_within_1_percent"] is False
    assert any("relative L2" in reason for reason in summary["outputs"]["features"]["reasons"])


def test_nan_fails(npu: Kit) -> None:
    summary = judged(npu, 1, SIM_NPU_NAN="aten::native_layer_norm:*")
    assert summary["verdict"] == "FAIL"
    assert summary["match_within_1_percent"] is False
    assert summary["max_abs_diff"] is None and summary["null_reasons"]["max_abs_diff"]
    assert summary["outputs"]["features"]["metrics"]["device"]["nonfinite"]["nan"] > 0


def test_device_that_is_not_repeatable_is_invalid(npu: Kit) -> None:
    summary = judged(npu, 4, SIM_NPU_NONREPEATABLE="0.01")
    assert summary["verdict"] == "INVALID"
    assert "not repeatable" in json.dumps(summary["submission_blockers"] + [summary["outputs"]])
    assert npu.record["noise"]["device_repeat"]["features"]["bit_identical"] is False


def test_fallback_is_found_by_its_exact_name_and_absent_from_a_clean_run(npu: Kit) -> None:
    summary = judged(npu, 0)
    assert summary["device_proof"]["fallback_ops"] == []
    summary = judged(npu, 0, SIM_NPU_FALLBACK="aten::native_layer_norm")
    assert summary["device_proof"]["fallback_ops"] == ["aten::native_layer_norm"]
    assert any("aten::native_layer_norm" in line for line in summary["submission_blockers"])
    assert (
        "CAUTION: The operator 'aten::native_layer_norm'"
        in npu.infer(*SMALL, SIM_NPU_FALLBACK="aten::native_layer_norm").err
    )


WORDINGS = {
    "2.13, 2.9": "[W1122 03:10:52.088 VariableFallbackKernel.cpp:230] Warning: CAUTION: The operator 'OP' is not currently supported on the NPU backend and will fall back to run on the CPU. This may have performance implications. (function npu_cpu_fallback)",
    "older builds": "[W compiler_depend.ts:51] Warning: CAUTION: The operator 'OP' is not currently supported on the NPU backend and will fall back to run on the CPU.",
    "explicit": "CAUTION: The operator OP, OP_ is currently not supported on the NPU backend. Now this operator will fallback to run on the CPU and may have performance implications.",
    "on a condition": "CAUTION: The operator OP need to be met the following conditions to run on the NPU backend: 1. dim = None. Now this operator will fall back to run on the CPU",
    "allowed": "CPU fallback is allowed because TORCH_NPU_FALLBACK_CPU_DISABLE=0. Since the NPU interface does not support operator 'OP', the operator will fall back to CPU.",
    "no fallback": "Warning: Cannot create tensor with internal format while allow_internal_format=False, tensor will be created with base format.",
}


@pytest.mark.parametrize("wording", WORDINGS)
def test_every_wording_of_a_fallback_is_read(tmp_path: Path, wording: str) -> None:
    """On file descriptor 2, as C++ writes it; test_torch_npu_contract.py has the wheels' own texts."""
    from kit.run.fallback import watch_fallbacks

    with watch_fallbacks("npu", tmp_path / "stderr") as watch:
        os.write(2, f"{WORDINGS[wording]}\n".replace("OP", "aten::logit.out").encode())
    assert watch.ops == ([] if wording == "no fallback" else ["aten::logit.out"])
    assert watch.reason is None and not (tmp_path / "stderr").exists()


@pytest.mark.full
@pytest.mark.parametrize("wording", WORDINGS)
def test_every_wording_is_found_in_a_run(npu: Kit, wording: str) -> None:
    switches = {"SIM_NPU_FALLBACK": NORM, "SIM_NPU_FALLBACK_TEXT": WORDINGS[wording]}
    result = npu.infer(*SMALL, **switches)
    found = npu.record["device_proof"]["fallback_ops"]
    assert found == ([] if wording == "no fallback" else [NORM])
    assert (f"warning: fell back to the CPU: {NORM}" in result.err) is bool(found)


def test_a_fallback_in_the_further_samples_only(npu: Kit) -> None:
    """5 norms a forward and five forwards before: the 27th is in the first sample."""
    data = npu.scratch / "photos"
    data.mkdir()
    shutil.copy(ROOT / "kit" / "models" / "samples" / "photo.png", data)
    result = npu.infer(*SMALL, "--data", data, SIM_NPU_FALLBACK=f"{NORM}:27")
    assert npu.record["device_proof"]["fallback_ops"] == []
    assert npu.record["samples"]["fallback_ops"] == [NORM]
    assert f"warning: fell back to the CPU: {NORM}" in result.err
    assert f"operators fell back to the CPU: {NORM}" in npu.summary["submission_blockers"]


@pytest.mark.full
def test_silenced_fallback_warnings_are_no_clean_run(npu: Kit) -> None:
    summary = judged(
        npu,
        0,
        SIM_NPU_FALLBACK="aten::native_layer_norm",
        TORCH_NPU_DISABLED_WARNING="1",
    )
    assert summary["device_proof"]["fallback_ops"] is None
    assert any("TORCH_NPU_DISABLED_WARNING" in line for line in summary["submission_blockers"])


@pytest.mark.full
def test_910a_rounds_to_fp16(npu: Kit) -> None:
    summary = judged(npu, 0, SIM_NPU_CHIP="910A")
    assert 1e-4 < summary["outputs"]["features"]["metrics"]["relative_l2"] < 1e-2


def test_exact_arithmetic_is_the_cpu_s(npu: Kit) -> None:
    summary = judged(npu, 0, SIM_NPU_EXACT="1")
    assert summary["outputs"]["features"]["metrics"]["relative_l2"] < 1e-6


@pytest.mark.full
def test_the_delay_of_an_asynchronous_device_is_in_the_latency(vit_run: Kit) -> None:
    """400 ms a convolution, which only synchronize waits for; ViT has one a forward."""
    npu, arguments = vit_run, ("--model", "vit_tiny_patch16_224", *QUICK[:-1], "5")
    plain = npu.record["latency"]
    slow = {"SIM_NPU_DELAY_MS": "400", "SIM_NPU_DELAY_OP": "aten::convolution"}
    assert npu.infer(*arguments, **slow).code == 0
    delayed = npu.record["latency"]
    assert delayed["min_ms"] >= 400
    assert delayed["min_ms"] > plain["min_ms"]
    assert delayed["cold_ms"] >= 400
    assert delayed["min_ms"] <= delayed["p50_ms"] <= delayed["max_ms"]
    assert delayed["unsynchronised_ms"] < 40
    assert (delayed["warmup"], delayed["iterations"]) == (1, 5)
