"""A device that misbehaves, through both scripts: what is wrong must be seen, and never passes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import QUICK, VIT, Kit


def judged(npu: Kit, code: int, **switches: str) -> dict[str, object]:
    result = npu.infer(*VIT, **switches)
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
        in npu.infer(*VIT, SIM_NPU_FALLBACK="aten::native_layer_norm").err
    )


def test_every_wording_of_a_fallback_is_read(tmp_path: Path) -> None:
    """Lines as torch_npu's wheels hold them (2.13.0, 2.9.0.post2), and one that is no fallback."""
    from kit.run.fallback import watch_fallbacks

    lines = """
[W1122 03:10:52.088 VariableFallbackKernel.cpp:230] Warning: CAUTION: The operator 'aten::special_bessel_j0.out' is not currently supported on the NPU backend and will fall back to run on the CPU. This may have performance implications. (function npu_cpu_fallback)
[W compiler_depend.ts:51] Warning: CAUTION: The operator 'aten::angle' is not currently supported on the NPU backend and will fall back to run on the CPU.
CAUTION: The operator aten::logit, aten::logit_ is currently not supported on the NPU backend. Now this operator will fallback to run on the CPU and may have performance implications.
CAUTION: The operator aten::_masked_softmax need to be met the following conditions, otherwise it will fallback to run on the CPU
CPU fallback is allowed because TORCH_NPU_FALLBACK_CPU_DISABLE=0. Since the NPU interface does not support operator 'aten::nonzero'
Warning: Cannot create tensor with internal format while allow_internal_format=False, tensor will be created with base format.
"""
    with watch_fallbacks("npu", tmp_path / "stderr") as watch:
        os.write(2, lines.encode())
    assert watch.ops == [
        "aten::_masked_softmax",
        "aten::angle",
        "aten::logit",
        "aten::nonzero",
        "aten::special_bessel_j0.out",
    ]
    assert not (tmp_path / "stderr").exists()


def test_silenced_fallback_warnings_are_no_clean_run(npu: Kit) -> None:
    summary = judged(
        npu,
        0,
        SIM_NPU_FALLBACK="aten::native_layer_norm",
        TORCH_NPU_DISABLED_WARNING="1",
    )
    assert summary["device_proof"]["fallback_ops"] is None
    assert any("TORCH_NPU_DISABLED_WARNING" in line for line in summary["submission_blockers"])


def test_910a_rounds_to_fp16(npu: Kit) -> None:
    summary = judged(npu, 0, SIM_NPU_CHIP="910A")
    assert 1e-4 < summary["outputs"]["features"]["metrics"]["relative_l2"] < 1e-2


def test_exact_arithmetic_is_the_cpu_s(npu: Kit) -> None:
    summary = judged(npu, 0, SIM_NPU_EXACT="1")
    assert summary["outputs"]["features"]["metrics"]["relative_l2"] < 1e-6


def test_out_of_memory_names_its_cure(npu: Kit) -> None:
    result = npu.infer(*VIT, SIM_NPU_OOM=str(10 * 2**20))
    assert result.code == 3
    assert "NPU out of memory" in result.error and "--dtype float16" in result.error
    assert npu.summary["status"] == "FAILED"
    assert "Traceback" in (npu.logs / "run_npu.log").read_text()


def test_failing_synchronise_is_an_error(npu: Kit) -> None:
    result = npu.infer(*VIT, "--device", "npu:0", SIM_NPU_SYNC_FAIL="1")
    assert result.code == 3
    assert "ASCEND_LAUNCH_BLOCKING" in result.error


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("call aclnnLayerNorm failed, error code is 561103", "kernel package"),
        ("EZ1001: not implemented for DT_DOUBLE", "no kernel for this dtype"),
        ("AclSetCompileopt(...), error code is 500001", "decorator psutil scipy"),
        ("some failure nobody has seen", "the traceback is in its run_npu.log"),
    ],
)
def test_failures_in_the_forward_end_in_one_line(npu: Kit, text: str, cure: str) -> None:
    result = npu.infer(*VIT, SIM_NPU_RAISE=f"aten::native_layer_norm:1:{text}")
    assert result.code == 3
    assert cure in result.error
    assert npu.record["error"]["exit_code"] == 3
    assert text in (npu.logs / "run_npu.log").read_text()


def test_the_delay_of_an_asynchronous_device_is_in_the_latency(npu: Kit) -> None:
    """400 ms a convolution, which only synchronize waits for; ViT has one a forward."""
    arguments = ("--model", "vit_tiny_patch16_224", *QUICK[:-1], "5")
    assert npu.infer(*arguments).code == 0
    plain = npu.record["latency"]
    slow = {"SIM_NPU_DELAY_MS": "400", "SIM_NPU_DELAY_OP": "aten::convolution"}
    assert npu.infer(*arguments, **slow).code == 0
    delayed = npu.record["latency"]
    assert delayed["min_ms"] >= 400
    assert delayed["min_ms"] > plain["min_ms"]
    assert delayed["cold_ms"] >= 400
    assert delayed["min_ms"] <= delayed["p50_ms"] <= delayed["p90_ms"] <= delayed["p99_ms"]
    assert delayed["p99_ms"] <= delayed["max_ms"]
    assert (delayed["warmup"], delayed["iterations"]) == (1, 5)
