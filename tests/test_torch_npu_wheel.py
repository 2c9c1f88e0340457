"""The real torch_npu wheel on a host without CANN: no NPU, and nothing else is harmed."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import SMALL, T5, Kit


@dataclass(frozen=True)
class Wheel:
    """An unpacked torch_npu: a folder for PYTHONPATH, and what the kit must say of it beside this torch."""

    site: Path
    said: tuple[str, ...]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel that matches this torch; where none was published, the newest one."""
    folder = tmp_path_factory.mktemp("torch_npu")
    build = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__, torch.version.cuda)"],
        capture_output=True,
        text=True,
        check=True,
    )
    version, cuda = build.stdout.split()
    said: tuple[str, ...] = ("libhccl.so", "source /usr/local/Ascend/ascend-toolkit/set_env.sh")
    if cuda != "None":
        said = ("is a CUDA build", "install the CPU build of the same version")
    if not download(f"torch_npu=={version.partition('+')[0]}", folder):
        said = (f"does not match torch {version}",)
        if not download("torch_npu", folder):
            pytest.skip(f"no torch_npu was published for Python {platform.python_version()}")
    [path] = folder.glob("torch_npu-*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return Wheel(folder / "site", said)


def download(wanted: str, folder: Path) -> bool:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    return subprocess.run([*command, wanted], capture_output=True).returncode == 0


@pytest.mark.full  # test_devices.py has the same import error from the simulation
@pytest.mark.parametrize("model", [SMALL, T5], ids=["timm", "transformers"])
def test_cpu_run_beside_a_torch_npu_that_cannot_load(
    kit: Kit, wheel: Wheel, model: tuple[str, ...]
) -> None:
    beside = {"PYTHONPATH": str(wheel.site), "KIT_TESTS_COLD": "1"}
    result = kit.infer(*model, **beside)
    assert result.code == 0, result.err
    line = result.out.splitlines()[0]
    assert line.startswith("device cpu (")
    assert all(words in line for words in wheel.said)
    assert kit.record["environment"]["packages"]["torch_npu"] is not None
    assert kit.compare(**beside).code == 0
    assert kit.summary["verdict"] == "SELF_CHECK"
    saved = [kit.logs / f"{name}.safetensors" for name in ("reference", "outputs")]
    assert kit.command("judge", *saved, **beside).code == 0


@pytest.mark.full  # test_devices.py asks the simulation the same
def test_npu_asked_for_without_cann(kit: Kit, wheel: Wheel) -> None:
    result = kit.infer(*SMALL, "--device", "npu:0", PYTHONPATH=str(wheel.site))
    assert result.code == 3
    assert all(words in result.error for words in wheel.said)
