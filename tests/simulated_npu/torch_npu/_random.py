"""The devices' random numbers: a stream of their own, apart from the CPU's.

Numbers drawn on a device leave torch's CPU generator where it was, as on an NPU. Their values are
those of the CPU's generator with the device's seed, not those of an NPU's Philox generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_DEFAULT_SEED = 67280421310721  # c10's default_rng_seed_val, with which every generator starts
_generators: dict[int, torch.Generator] = {}


def generator(device: int) -> torch.Generator:
    """The default generator of `device`."""
    if device not in _generators:
        _generators[device] = torch.Generator().manual_seed(_DEFAULT_SEED)
    return _generators[device]


@contextmanager
def drawing_from(device: int) -> Iterator[None]:
    """Let the CPU kernels inside draw from `device`'s generator."""
    host = torch.random.get_rng_state()
    own = generator(device)
    torch.random.set_rng_state(own.get_state())
    try:
        yield
    finally:
        own.set_state(torch.random.get_rng_state())
        torch.random.set_rng_state(host)
