"""An NVIDIA GPU: a device whose TF32 flags play the part of the NPU's HF32."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kit.devices.device import Device, Unavailable, check_index, prove
from kit.devices.npu import hide_torch_npu
from kit.devices.precision import Precision, PrecisionName, put_flags, set_flags
from kit.words import Reason


class CudaDevice(Device):
    """One GPU through torch.cuda."""

    kind = "cuda"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        hide_torch_npu()
        import torch

        self._torch = torch
        if torch.version.cuda is None:
            raise Unavailable(Reason("no_cuda_build"), Reason("install_cuda_build"))
        if not torch.cuda.is_available():
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            cure = Reason("check_nvidia_smi")
            if hidden is not None:
                cure = Reason("unset_visible", value=repr(hidden))
            raise Unavailable(Reason("sees_no_cuda"), cure)
        check_index(self.spec, index, torch.cuda.device_count())
        prove(self)

    @property
    def name(self) -> str:
        return str(self._torch.cuda.get_device_name(self.index))

    @property
    def count(self) -> int:
        return self._torch.cuda.device_count()

    def synchronize(self) -> None:
        self._torch.cuda.synchronize(self.index)

    def set_precision(self, requested: PrecisionName) -> Precision:
        return set_tf32(requested)

    def put_flags(self, flags: Mapping[str, bool]) -> None:
        put_flags(self._torch.backends, flags)

    def peak_bytes(self) -> int | None:
        return int(self._torch.cuda.max_memory_allocated(self.index))

    def memory(self) -> tuple[int, int] | None:
        free, total = self._torch.cuda.mem_get_info(self.index)
        return int(free), int(total)


def set_tf32(requested: PrecisionName) -> Precision:
    """Set TF32 for matrix products and convolutions; needs no GPU."""
    import torch

    names = ("cuda.matmul.allow_tf32", "cudnn.allow_tf32")
    precision = set_flags(requested, torch.backends, *names)
    # NVIDIA's libraries listen to it more than to the flags, which do not know of it.
    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    if override is not None and override == {"strict": "1", "fast": "0"}.get(requested):
        precision.not_set.append(f"NVIDIA_TF32_OVERRIDE={override}")
    return precision
