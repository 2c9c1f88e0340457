"""A weights file that changes while a run uses it: nothing is claimed of what was loaded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, Kit, ended

# Half a second of work for the device in every forward, so that there is time to change the file.
SLOW = {"SIM_NPU_DELAY_MS": "20", "SIM_NPU_DELAY_OP": "aten::native_layer_norm"}


@pytest.mark.parametrize("how", ["another file in its place", "overwritten, with its old time"])
def test_weights_that_change_during_a_run(
    npu: Kit, tmp_path: Path, weights_of: Callable[[str], Path], how: str
) -> None:
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    data = bytearray(weights_of(SMALL[1]).read_bytes())
    path.write_bytes(data)
    data[-1] ^= 1
    other.write_bytes(data)
    times = path.stat()
    process = npu.popen("inference.py", *SMALL, "--weights", path, **SLOW)
    while process.poll() is None and not (npu.logs / "run.json").exists():
        time.sleep(0.01)
    while process.poll() is None and npu.record["weights"] is None:
        time.sleep(0.01)
    if how.startswith("another"):
        os.replace(other, path)  # noqa: PTH105
    else:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(data[-1:])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = ended(process)
    assert result.code == 4, result.err
    # What is overwritten before the device has it is already seen there.
    told = "model.safetensors was changed or exchanged after it was hashed"
    assert told in result.error or "weights read back" in result.error
    summary = npu.summary
    assert summary["verdict"] == "INVALID" and summary["status"] == "FAILED"
    assert summary["pretrained_used"] is summary["weights"] is summary["weight_path"] is None
    assert npu.compare().code == 4


def test_weights_that_stay_are_no_reason_to_stop(
    npu: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    path = tmp_path / "model.safetensors"
    path.symlink_to(weights_of(SMALL[1]))  # as in the Hugging Face cache
    assert npu.infer(*SMALL, "--weights", path).code == 0
    assert npu.summary["weight_path"] == "file:model.safetensors"
