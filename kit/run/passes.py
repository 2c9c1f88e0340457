"""The passes of one run: the first (cold and watched), a second for repeatability, the timed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.devices import Device
from kit.evidence.latency import Latency
from kit.models.adapter import Adapter
from kit.run.fallback import FallbackWatch, watch_fallbacks
from kit.run.timing import measure_latency, time_once

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What a run produced: outputs as they lie on the device, and the second run's beside them."""

    outputs: dict[str, Tensor]
    repeated: dict[str, Tensor]
    latency: Latency
    fallbacks: FallbackWatch


def run_passes(
    adapter: Adapter,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    device: Device,
    *,
    warmup: int,
    iterations: int,
    stderr_capture: Path,
) -> Passes:
    """Run everything the adapter declares, twice, and time its forward. `inputs` are on the device.

    `stderr_capture` holds what the device's runtime writes during the first pass, until it is over.
    """
    import torch

    outputs: dict[str, Tensor] = {}

    def forward() -> None:
        outputs.update(adapter.forward(model, inputs))

    with torch.inference_mode():
        # A fallback is reported at an operator's first call only, so this watch must see all of them.
        with watch_fallbacks(device.kind, stderr_capture) as fallbacks:
            cold_ms = time_once(forward, device)
            outputs.update(adapter.further_outputs(model, inputs))
            device.synchronize()
        first = dict(outputs)
        forward()
        outputs.update(adapter.further_outputs(model, inputs))
        device.synchronize()
        repeated = dict(outputs)
        latency = measure_latency(
            lambda: adapter.forward(model, inputs),
            device,
            cold_ms=cold_ms,
            warmup=warmup,
            iterations=iterations,
        )
    return Passes(outputs=first, repeated=repeated, latency=latency, fallbacks=fallbacks)


def to_device(inputs: Mapping[str, Tensor], device: Device, dtype: Any) -> dict[str, Tensor]:
    """The inputs on the device, floating point ones in `dtype`."""
    return {
        name: tensor.to(device=device.spec, dtype=dtype if tensor.is_floating_point() else None)
        for name, tensor in inputs.items()
    }
