"""The texts in which torch_npu reports what went wrong.

Code outside tells failures apart by these texts, so they are the real ones: format strings read
out of the torch_npu 2.13.0 wheel (libtorch_npu.so, torch_npu/utils/_error_code.py), filled in as in
logs that users published (Ascend/pytorch, vllm-ascend and tilelang-ascend issues).
"""

from __future__ import annotations

import os
import time

import torch

_CODES = {
    "ERR00001": "invalid parameter",
    "ERR00002": "invalid type",
    "ERR00003": "invalid value",
    "ERR00100": "call acl api failed",
}


def signature(code: str, device: int = -1) -> str:
    """The line that torch_npu's pta_error() hangs on every message."""
    now = time.strftime("%Y-%m-%d-%H:%M:%S", time.localtime())
    place = f"(PID:{os.getpid()}, Device:{device}, RankID:-1)"
    return f"\n[ERROR] {now} {place} {code} PTA {_CODES[code]}"


def invalid_device() -> RuntimeError:
    """No such device: what the first allocation says."""
    return RuntimeError(
        "Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp:237 NPU function error: "
        "c10_npu::SetDevice(device_id_), error code is 107001"
        + signature("ERR00100")
        + "\n[Error]: Invalid device ID.\n        Check whether the device ID is valid."
    )


def asynchronous_fault(device: int) -> RuntimeError:
    """A kernel that failed earlier, reported by whoever waits for the device next."""
    return RuntimeError(
        "npuSynchronizeDevice:torch_npu/csrc/core/npu/NPUStream.cpp:506 NPU function error: "
        "AclrtSynchronizeDeviceWithTimeout, error code is 507015"
        + signature("ERR00100", device)
        + "\n[Error]: The aicore execution is abnormal. \n"
        "        Rectify the fault based on the error information in the ascend log."
    )


def out_of_memory(device: int, wanted: int, used: int, total: int) -> torch.OutOfMemoryError:
    """The allocator's refusal."""
    return torch.OutOfMemoryError(
        f"NPU out of memory. Tried to allocate {_size(wanted)} (NPU {device}; {_size(total)} total "
        f"capacity; {_size(used)} already allocated; {_size(used)} current active; "
        f"{_size(total - used)} free; {_size(used)} reserved in total by PyTorch). If reserved "
        "memory is >> allocated memory try setting max_split_size_mb to avoid fragmentation."
    )


def no_double(kernel: str) -> RuntimeError:
    """Matrix products and convolutions have no float64 kernel."""
    return RuntimeError(
        f"call {kernel} failed, error code is 161002"
        + signature("ERR00100")
        + f".\n[PID: {os.getpid()}] AclNN_Parameter_Error(EZ1001): Tensor self not implemented for "
        "DT_DOUBLE, should be in dtype support list [DT_FLOAT16,DT_FLOAT,DT_BFLOAT16,]."
    )


def device_mismatch(first: object, second: object) -> RuntimeError:
    """PyTorch's own words for operands that lie on different devices."""
    return RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{first} and {second}!"
    )


def _size(count: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count} bytes"
