"""The figures of one block in one compiled pass, for outputs of many millions of elements.

Needs numba (requirements-fast.txt). numpy's and torch's separate passes over a block take about twice
the time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import kernels
from kit.accuracy.ranking import TOP, RankTotals, rank_block
from kit.accuracy.torch_blocks import TorchBlocks
from kit.accuracy.totals import Totals

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.ranking import Rows


class CompiledBlocks:
    """As torch_blocks.TorchBlocks. Keeps its scratch array from block to block (fresh memory would
    cost as much as the sums do), so every thread needs its own."""

    def __init__(self) -> None:
        self._powers = np.empty((2, 0))

    def __call__(
        self, offset: int, reference: Tensor, device: Tensor, row: int | None
    ) -> tuple[Totals, RankTotals | None]:
        totals, ranks = Totals(), None
        if row is None:
            at = kernels.add_block(reference.numpy(), device.numpy(), totals.sums, totals.ends)
        else:
            rows = (reference.view(-1, row).numpy(), device.view(-1, row).numpy())
            at, ranks = self._add_rows(*rows, totals, offset // row)
        if not math.isfinite(totals["square_reference"] + totals["square_device"]):
            return TorchBlocks()(offset, reference, device, row)
        totals["finite"], totals.largest_at = reference.numel(), offset + at
        return totals, ranks

    def _add_rows(
        self, reference: Rows, device: Rows, totals: Totals, first_row: int
    ) -> tuple[int, RankTotals]:
        count, classes = reference.shape
        if self._powers.shape[1] != classes:
            self._powers = np.empty((2, classes))
        top = np.empty((2, count, min(TOP, classes)), dtype=np.int64)
        at, apart = kernels.add_rows(reference, device, totals.sums, totals.ends, top, self._powers)
        return at, rank_block(reference, top[0], top[1], apart, first_row)
