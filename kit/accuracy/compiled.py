"""The figures of one block in one compiled pass, for outputs of many millions of elements.

Needs numba (requirements-fast.txt). numpy's and torch's separate passes over a block take about twice
the time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import kernels
from kit.accuracy.ranking import RankTotals, rank_block
from kit.accuracy.torch_blocks import TorchBlocks
from kit.accuracy.totals import Totals

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.ranking import Indices, Rows

_ROWS = 1 << 16  # elements of rows whose exponentials are held at a time (fp64: 512 KiB a side)


class CompiledBlocks:
    """As torch_blocks.TorchBlocks. Keeps its scratch arrays from block to block (fresh memory would
    cost as much as the sums do), so every thread needs its own."""

    def __init__(self) -> None:
        self._scratch = (np.empty(0), np.empty(0))

    def __call__(
        self, offset: int, reference: Tensor, device: Tensor, row: int | None
    ) -> tuple[Totals, RankTotals | None]:
        totals = Totals()
        ends = totals.ends
        at = kernels.add_block(reference.numpy(), device.numpy(), totals.sums, ends)
        if not math.isfinite(totals["square_reference"] + totals["square_device"]):
            return TorchBlocks()(offset, reference, device, row)
        totals["finite"], totals.largest_at = reference.numel(), offset + at
        if row is None:
            return totals, None
        rows = (reference.view(-1, row).numpy(), device.view(-1, row).numpy())
        return totals, rank_block(*rows, offset // row, _top, self._softmax_difference)

    def _softmax_difference(
        self, reference: Rows, device: Rows, reference_top1: Indices, device_top1: Indices
    ) -> float:
        """As torch_blocks', for finite rows. The exponentials are torch's: numba's are not vectorised."""
        import torch

        some = max(1, _ROWS // reference.shape[1])
        if self._scratch[0].size < some * reference.shape[1]:
            self._scratch = (
                np.empty(some * reference.shape[1]),
                np.empty(some * reference.shape[1]),
            )
        sides = ((reference, reference_top1), (device, device_top1))
        largest = 0.0
        for first in range(0, len(reference), some):
            powers = []
            for (side, top1), scratch in zip(sides, self._scratch, strict=True):
                rows = side[first : first + some]
                below = scratch[: rows.size].reshape(rows.shape)
                kernels.below_largest(rows, top1[first : first + some], below)
                torch.from_numpy(below).exp_()
                powers.append(below)
            largest = kernels.softmax_difference(powers[0], powers[1], largest)
        return largest


def _top(rows: Rows, k: int) -> Indices:
    """As torch_blocks', for finite rows."""
    indices = np.empty((len(rows), k), dtype=np.int64)
    kernels.top(rows, indices)
    return indices
