"""The devices' memory: how much of it live tensors hold, the peak, and the limit.

A `Block` is one allocation. Every wrapper tensor holds the block that its data lies in, and views
share it, so a block dies with the last tensor that can reach its bytes: what is counted is what a
caching allocator would call allocated. Sizes are exact; the real allocator rounds up to 512 bytes.
"""

from __future__ import annotations

import time

import torch

from . import _devices, _errors
from ._switches import SWITCHES


class Pool:
    """The memory of one device."""

    def __init__(self, index: int) -> None:
        self.device = torch.device("npu", index)
        self.total = _devices.CHIP.total_memory
        self.used = 0
        self.peak = 0

    def take(self, size: int) -> None:
        """Count `size` bytes in, or refuse; a device that hangs never answers."""
        while SWITCHES.hang:
            time.sleep(1)
        if self.used + size > self.total:
            raise _errors.out_of_memory(self.device.index, size, self.used, self.total)
        self.used += size
        self.peak = max(self.peak, self.used)

    def reset_peak(self) -> None:
        """Measure the peak from here on."""
        self.peak = self.used

    def give_back(self, size: int) -> None:
        """Count `size` bytes out."""
        self.used -= size


class Block:
    """One allocation, given back when nothing refers to it any more."""

    __slots__ = ("device", "pool", "size")

    def __init__(self, pool: Pool, size: int) -> None:
        # Set before take(), because a refused block is finalized too.
        self.size = 0
        self.pool = pool
        self.device = pool.device
        pool.take(size)
        self.size = size

    def __deepcopy__(self, memo: object) -> Block:
        """The copy of a tensor's data takes memory of its own."""
        return Block(self.pool, self.size)

    def __del__(self) -> None:
        self.pool.give_back(self.size)


_POOLS: dict[int, Pool] = {}


def pool(index: int | None = None) -> Pool:
    """The memory of device `index`, opened if it was not (None: the current device)."""
    index = _devices.initialize(index)
    if index not in _POOLS:
        _POOLS[index] = Pool(index)
    return _POOLS[index]
