"""Choosing a device: the reason on the first line, never a silent substitute, the cure in the error."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import T5, VIT, Kit


def first_line(kit: Kit, *arguments: str, **environment: str) -> str:
    result = kit.infer(*VIT, *arguments, **environment)
    assert result.code == 0, result.err
    return result.out.splitlines()[0]


def refusal(kit: Kit, device: str, **environment: str) -> str:
    result = kit.infer(*VIT, "--device", device, **environment)
    assert result.code == 3, result.err
    assert kit.summary["status"] == "FAILED"
    assert kit.summary["verdict"] == "NOT_COMPARED"
    assert result.error.startswith(f"error: {device} cannot be used: ")
    return result.error


def test_auto_prefers_the_npu(npu: Kit) -> None:
    assert first_line(npu).startswith("device npu:0 (Simulated NPU (Ascend910B4)): auto takes")


def test_auto_without_anything_says_why(kit: Kit) -> None:
    line = first_line(kit)
    assert line.startswith("device cpu (")
    assert "no npu: torch_npu is not installed" in line and "no cuda: " in line


def test_explicit_npu_without_torch_npu(kit: Kit) -> None:
    assert "torch_npu is not installed" in refusal(kit, "npu:0")


def test_explicit_cuda_without_cuda(kit: Kit) -> None:
    assert "CUDA" in refusal(kit, "cuda:0")


def test_npu_7_where_there_is_one(npu: Kit) -> None:
    assert "npu:7 does not exist, there is only npu:0" in refusal(npu, "npu:7")


def test_second_of_two_npus(npu: Kit) -> None:
    assert first_line(npu, "--device", "npu:1", SIM_NPU_DEVICES="2").startswith("device npu:1 (")
    assert set(npu.record["device_proof"]["parameters"]) == {"npu:1"}
    assert npu.record["device"]["count"] == 2
    assert npu.compare().code == 0


def test_no_npu_behind_torch_npu(npu: Kit) -> None:
    assert "npu-smi info" in refusal(npu, "npu:0", SIM_NPU_DEVICES="0")
    line = first_line(npu, SIM_NPU_DEVICES="0")
    assert line.startswith("device cpu (") and "torch_npu sees no NPU" in line


@pytest.mark.parametrize("model", [VIT, T5], ids=["timm", "transformers"])
def test_torch_npu_without_cann_does_not_stop_a_cpu_run(npu: Kit, model: tuple[str, ...]) -> None:
    result = npu.infer(*model, SIM_NPU_IMPORT_ERROR="1")
    assert result.code == 0, result.err
    line = result.out.splitlines()[0]
    assert "libhccl.so" in line and "set_env.sh" in line
    assert npu.compare(SIM_NPU_IMPORT_ERROR="1").code == 0


def test_torch_npu_without_cann_is_no_npu(npu: Kit) -> None:
    error = refusal(npu, "npu:0", SIM_NPU_IMPORT_ERROR="1")
    assert "libhccl.so" in error and "source /usr/local/Ascend" in error


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("libascend_hal.so: cannot open shared object file", "Ascend driver"),
        ("ASCEND_OPP_PATH environment variable is not set.", "set_env.sh"),
        ("libtorch_npu.so: undefined symbol: _ZN2at", "do not match"),
    ],
)
def test_known_import_failures_name_their_cure(npu: Kit, text: str, cure: str) -> None:
    assert cure in refusal(npu, "npu:0", SIM_NPU_IMPORT_ERROR=text)


def test_versions_that_do_not_match_are_seen_before_the_import(npu: Kit, tmp_path: Path) -> None:
    metadata = tmp_path / "site" / "torch_npu-2.9.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: torch_npu\nVersion: 2.9.0\n")
    path = f"{metadata.parent.parent}:{npu.environment()['PYTHONPATH']}"
    error = refusal(npu, "npu:0", PYTHONPATH=path)
    assert "torch_npu 2.9.0 does not match torch" in error


def test_allocation_that_hangs(npu: Kit) -> None:
    error = refusal(npu, "npu:0", SIM_NPU_HANG="1", KIT_PROBE_SECONDS="2")
    assert "did not return within 2 s" in error


def test_precision_flags_are_set_and_read_back(npu: Kit) -> None:
    flags = {}
    for precision in ("default", "strict", "fast"):
        first_line(npu, "--precision", precision)
        flags[precision] = npu.record["precision"]["flags"]
        assert npu.record["precision"]["not_set"] == []
    # torch_npu's own defaults: HF32 for convolutions, not for matrix products.
    hf32 = {
        name: (found["conv.allow_hf32"], found["matmul.allow_hf32"])
        for name, found in flags.items()
    }
    assert hf32 == {"default": (True, False), "strict": (False, False), "fast": (True, True)}
    assert flags["strict"]["compatible_impl"] is True


def test_precision_changes_the_arithmetic(npu: Kit) -> None:
    error = {}
    for precision in ("default", "strict", "fast"):
        first_line(npu, "--precision", precision)
        assert npu.compare().code == 0
        error[precision] = npu.summary["outputs"]["features"]["metrics"]["relative_l2"]
    assert error["strict"] < 1e-5 < error["default"] < error["fast"] < 1e-2
