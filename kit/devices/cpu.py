"""The CPU: the reference, and the device of a self-check."""

from __future__ import annotations

from kit.devices.device import Device
from kit.devices.npu import hide_torch_npu
from kit.devices.precision import Precision, PrecisionName
from kit.machine.processor import processor_name


class CpuDevice(Device):
    """Always there; nothing of it is asynchronous."""

    kind = "cpu"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        hide_torch_npu()
        import torch

        self._torch = torch

    @property
    def spec(self) -> str:
        return "cpu"

    @property
    def name(self) -> str:
        return processor_name() or self._torch.backends.cpu.get_cpu_capability()

    @property
    def count(self) -> int:
        return 1

    def synchronize(self) -> None:
        """Nothing to wait for: CPU operators return when they are done."""

    def set_precision(self, requested: PrecisionName) -> Precision:
        precision = Precision(requested=requested)
        wanted = {"strict": "highest", "fast": "high"}.get(requested)
        if wanted is not None:
            self._torch.set_float32_matmul_precision(wanted)
        found = self._torch.get_float32_matmul_precision()
        precision.flags["float32_matmul_precision"] = found
        if wanted not in (None, found):
            precision.not_set.append("float32_matmul_precision")
        return precision
