"""Choosing a device: the reason on the first line, never a silent substitute, the cure in the error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec._core
import pytest
from conftest import ROOT, SIMULATED_NPU, SMALL, T5, Kit, ended
from starting import start_python


def first_line(kit: Kit, *arguments: str, **environment: str) -> str:
    result = kit.infer(*SMALL, *arguments, **environment)
    assert result.code == 0, result.err
    return result.out.splitlines()[0]


def refusal(kit: Kit, device: str, **environment: str) -> str:
    result = kit.infer(*SMALL, "--device", device, **environment)
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


def test_a_gpu_is_taken_where_there_is_one_and_left_where_another_device_is_asked_for(
    kit: Kit, npu: Kit
) -> None:
    seen = {"CUDA_VISIBLE_DEVICES": "0"}
    torch = ended(
        start_python(
            "-c",
            "import torch; print(torch.version.cuda is not None and torch.cuda.is_available())",
            env=kit.environment(**seen),
        )
    )
    if torch.out != "True\n":
        pytest.skip("no GPU, or no torch that can use it")
    assert first_line(kit, **seen).startswith("device cuda:0 (")
    assert kit.compare(**seen).code == 0 and kit.summary["verdict"] == "PASS"
    assert kit.summary["npu_latency_ms"] is None and not kit.summary["submission_ready"]
    assert first_line(kit, "--device", "cpu", **seen).startswith("device cpu (")
    assert first_line(npu, **seen).startswith("device npu:0 (Simulated")


def test_npu_7_where_there_is_one(npu: Kit) -> None:
    assert "npu:7 does not exist, the last one is npu:0" in refusal(npu, "npu:7")


def test_second_of_two_npus(npu: Kit) -> None:
    assert first_line(npu, "--device", "npu:1", SIM_NPU_DEVICES="2").startswith("device npu:1 (")
    assert set(npu.record["device_proof"]["parameters"]) == {"npu:1"}
    assert npu.record["device"]["count"] == 2
    assert npu.compare().code == 0


def test_no_npu_behind_torch_npu(npu: Kit) -> None:
    assert "npu-smi info" in refusal(npu, "npu:0", SIM_NPU_DEVICES="0")
    line = first_line(npu, SIM_NPU_DEVICES="0")
    assert line.startswith("device cpu (") and "torch_npu sees no NPU" in line


@pytest.mark.parametrize(
    "model",
    # T5 beside the real wheel is in test_torch_npu_wheel.py.
    [SMALL, pytest.param(T5, marks=pytest.mark.full)],
    ids=["timm", "transformers"],
)
def test_torch_npu_without_cann_does_not_stop_a_cpu_run(npu: Kit, model: tuple[str, ...]) -> None:
    result = npu.infer(*model, SIM_NPU_IMPORT_ERROR="1")
    assert result.code == 0, result.err
    line = result.out.splitlines()[0]
    assert "libhccl.so" in line and "set_env.sh" in line
    assert npu.compare("--golden", "off").code == 0


def test_torch_npu_without_cann_is_no_npu(npu: Kit) -> None:
    error = refusal(npu, "npu:0", SIM_NPU_IMPORT_ERROR="1")
    assert "libhccl.so" in error and "source /usr/local/Ascend" in error


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


@pytest.mark.parametrize("precision", ["default", "strict", "fast"])
def test_precision_of_a_gpu_is_set_and_read_back(kit: Kit, precision: str) -> None:
    """torch's flags can be set and read without a GPU, in a process of their own."""
    snippet = f"""
import json, os
from dataclasses import asdict
import torch
from kit.devices.cuda import set_tf32
for override in (None, "0", "1"):
    if override is not None:
        os.environ["NVIDIA_TF32_OVERRIDE"] = override
    found = asdict(set_tf32({precision!r}))
    read = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    assert list(found["flags"].values()) == read
    print(json.dumps(found))
"""
    done = ended(start_python("-c", snippet, env=kit.environment()))
    assert done.code == 0, done.err
    alone, off, on = map(json.loads, done.out.splitlines())
    wanted = {"default": [False, True], "strict": [False, False], "fast": [True, True]}[precision]
    assert [*alone["flags"]] == ["cuda.matmul.allow_tf32", "cudnn.allow_tf32"]
    assert [*alone["flags"].values()] == wanted and alone["not_set"] == []
    # NVIDIA's libraries obey the variable, whatever torch's flags say.
    assert bool(off["not_set"]) is (precision == "fast")
    assert on["not_set"] == (["NVIDIA_TF32_OVERRIDE=1"] if precision == "strict" else [])


def test_precision_of_a_cpu_is_set_and_read_back(kit: Kit) -> None:
    first_line(kit, "--device", "cpu", "--precision", "fast")
    assert kit.record["precision"] == {
        "requested": "fast",
        "flags": {"float32_matmul_precision": "high"},
        "not_set": [],
    }


def test_a_torch_npu_without_the_exact_gelu_is_said_to_lack_it(npu: Kit, tmp_path: Path) -> None:
    """As torch_npu 2.9.0, the one for CANN 8.5."""
    shutil.copytree(SIMULATED_NPU / "torch_npu", tmp_path / "old" / "torch_npu")
    api = tmp_path / "old" / "torch_npu" / "npu" / "__init__.py"
    api.write_text(f"{api.read_text()}\ndel are_compatible_impl_enabled, use_compatible_impl\n")
    result = npu.infer(*SMALL, "--precision", "strict", PYTHONPATH=str(tmp_path / "old"))
    assert result.code == 0
    assert "--precision strict: compatible_impl did not take the value" in result.err
    assert npu.record["precision"]["not_set"] == ["compatible_impl"]
    assert npu.record["precision"]["flags"]["compatible_impl"] is None


def test_precision_is_set_read_back_and_changes_the_arithmetic(npu: Kit) -> None:
    flags, error = {}, {}
    for precision in ("default", "strict", "fast"):
        first_line(npu, "--precision", precision)
        flags[precision] = npu.record["precision"]["flags"]
        assert npu.record["precision"]["not_set"] == []
        assert npu.compare("--golden", "off").code == 0
        error[precision] = npu.summary["outputs"]["features"]["metrics"]["relative_l2"]
    assert error["strict"] < 1e-5 < error["default"] < error["fast"] < 1e-2
    # torch_npu's own defaults: HF32 for convolutions, not for matrix products.
    hf32 = {
        name: (found["conv.allow_hf32"], found["matmul.allow_hf32"])
        for name, found in flags.items()
    }
    assert hf32 == {"default": (True, False), "strict": (False, False), "fast": (True, True)}
    assert flags["strict"]["compatible_impl"] is True
    assert flags["strict"]["ACL_PRECISION_MODE"].startswith("must_keep_origin_dtype")
    assert "ACL_PRECISION_MODE" not in flags["fast"]


# torch is what it is, but says that it is built for CPUs: beside a CUDA build the kit imports no torch_npu
# that has a library.
CPU_BUILD = """
import runpy, sys, torch
torch.version.cuda = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
REAL = "import ctypes\nctypes.CDLL(__file__.replace('__init__.py', 'lib/libtorch_npu.so'))\n"


@pytest.mark.parametrize(
    ("library", "preamble", "reason"),
    [
        (b"", "", "is not loaded into this process"),
        pytest.param(
            b"\x7fELF and no more",
            "",
            "is not loaded into this process",
            marks=pytest.mark.full,
        ),
        (None, "", "is not loaded into this process"),
        (None, REAL, None),
    ],
    ids=["empty", "damaged", "a library that nothing loads", "a library that is loaded"],
)
def test_an_npu_is_real_where_its_native_library_is_loaded(
    npu: Kit, tmp_path: Path, library: bytes | None, preamble: str, reason: str | None
) -> None:
    """A file of the right name proves nothing. The library is any other's here: which one it is, and
    what it drives, no process can prove."""
    package = tmp_path / "real" / "torch_npu"
    shutil.copytree(SIMULATED_NPU / "torch_npu", package)
    file = package / "lib" / "libtorch_npu.so"
    file.parent.mkdir()
    file.write_bytes(Path(msgspec._core.__file__).read_bytes() if library is None else library)
    init = package / "__init__.py"
    # After its docstring and the import from __future__, which must come first.
    head, mark, rest = init.read_text("utf-8").partition("from typing import Any, NoReturn\n")
    init.write_text(head + mark + preamble + rest, "utf-8")
    switches = {"PYTHONPATH": str(package.parent)}
    if reason is None:
        snippet = (
            "import torch; torch.version.cuda = None; from kit.devices import select_device; "
            "print(select_device('npu:0').simulated)"
        )
        done = ended(start_python("-c", snippet, env=npu.environment(**switches)))
        assert done.out == "False\n", done.err
        return
    arguments = ("-c", CPU_BUILD, ROOT / "inference.py", *SMALL, "--logs", npu.logs)
    assert reason in ended(start_python(*arguments, env=npu.environment(**switches))).err
    assert npu.record["device"]["simulated"] and reason in npu.record["device"]["why_simulated"]
    assert npu.summary["npu_latency_ms"] is None
    assert "the NPU is simulated" in npu.summary["submission_blockers"]
