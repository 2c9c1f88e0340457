"""The real torch_npu wheel on a host without CANN: no NPU, and nothing else is harmed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import T5, VIT, Kit


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that matches this torch, unpacked: a folder for PYTHONPATH."""
    from importlib.metadata import version

    folder = tmp_path_factory.mktemp("torch_npu")
    wanted = f"torch_npu=={version('torch').partition('+')[0]}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        str(folder),
        wanted,
    ]
    subprocess.run(command, check=True)
    [path] = folder.glob("torch_npu-*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("model", [VIT, T5], ids=["timm", "transformers"])
def test_cpu_run_beside_a_torch_npu_that_cannot_load(
    kit: Kit, wheel: Path, model: tuple[str, ...]
) -> None:
    result = kit.infer(*model, PYTHONPATH=str(wheel))
    assert result.code == 0, result.err
    line = result.out.splitlines()[0]
    assert line.startswith("device cpu (")
    assert "libhccl.so" in line and "source /usr/local/Ascend/ascend-toolkit/set_env.sh" in line
    assert kit.record["environment"]["packages"]["torch_npu"] is not None
    assert kit.compare(PYTHONPATH=str(wheel)).code == 0
    assert kit.summary["verdict"] == "SELF_CHECK"
    saved = [kit.logs / f"{name}.safetensors" for name in ("reference", "outputs")]
    assert kit.command("judge", *saved, PYTHONPATH=str(wheel)).code == 0


def test_npu_asked_for_without_cann(kit: Kit, wheel: Path) -> None:
    result = kit.infer(*VIT, "--device", "npu:0", PYTHONPATH=str(wheel))
    assert result.code == 3
    assert "libhccl.so" in result.error and "set_env.sh" in result.error
