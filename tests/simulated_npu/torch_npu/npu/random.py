"""torch.npu's random number generators."""

from __future__ import annotations

from typing import Any

import torch

from .. import _devices, _random


def manual_seed(seed: int) -> None:
    """Seed the current device; harmless where there is none."""
    if _devices.count():
        _random.generator(_devices.current()).manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed every device; harmless where there is none."""
    for index in range(_devices.count()):
        _random.generator(index).manual_seed(int(seed))


def get_rng_state(device: Any = "npu") -> torch.Tensor:
    """The state of a device's generator, on the CPU."""
    return _random.generator(_devices.initialize(_devices.index_of(device))).get_state()


def set_rng_state(new_state: torch.Tensor, device: Any = "npu") -> None:
    """Put a device's generator into `new_state`."""
    _random.generator(_devices.initialize(_devices.index_of(device))).set_state(new_state)
