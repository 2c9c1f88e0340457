"""The passes of one run: the first (cold), a second for repeatability, the timed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.accuracy.repeats import compare_runs
from kit.devices import Device
from kit.evidence.latency import Latency
from kit.evidence.types.run import DeviceNoise
from kit.models.adapter import Adapter
from kit.run.timing import measure_latency, time_once

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What a run produced: the first pass's outputs as they lie on the device, the second pass's
    beside them, and those of the last timed run, which has the adapter's forward only."""

    outputs: dict[str, Tensor]
    repeated: dict[str, Tensor]
    timed: dict[str, Tensor]
    latency: Latency

    def noise(self, outputs: Mapping[str, Tensor]) -> DeviceNoise:
        """How the second pass and the last timed run differ from the first, whose outputs on the CPU these
        are."""
        return DeviceNoise(
            device_repeat=compare_runs(outputs, self.repeated),
            timed_repeat=compare_runs({name: outputs[name] for name in self.timed}, self.timed),
        )


def run_passes(
    adapter: Adapter,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    device: Device,
    *,
    warmup: int,
    iterations: int | None,
) -> Passes:
    """Run everything the adapter declares, twice, and time its forward. `inputs` are on the device;
    `warmup` and `iterations` are measure_latency's."""
    import torch

    outputs: dict[str, Tensor] = {}

    def forward() -> None:
        outputs.update(adapter.forward(model, inputs))

    with torch.inference_mode():
        cold_ms = time_once(forward, device)
        outputs.update(adapter.further_outputs(model, inputs))
        device.synchronize()
        first = dict(outputs)
        forward()
        outputs.update(adapter.further_outputs(model, inputs))
        device.synchronize()
        repeated = dict(outputs)
        latency, timed = measure_latency(
            lambda: adapter.forward(model, inputs),
            device,
            cold_ms=cold_ms,
            warmup=warmup,
            iterations=iterations,
        )
    return Passes(outputs=first, repeated=repeated, timed=timed, latency=latency)


def to_device(inputs: Mapping[str, Tensor], device: Device, dtype: Any) -> dict[str, Tensor]:
    """The inputs on the device, floating point ones in `dtype`."""
    return {
        name: tensor.to(device=device.spec, dtype=dtype if tensor.is_floating_point() else None)
        for name, tensor in inputs.items()
    }
