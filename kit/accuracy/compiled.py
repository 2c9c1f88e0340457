"""The figures of one block in one compiled pass, for outputs of many millions of elements.

Needs numba (requirements-fast.txt). torch's separate passes over a block take about ten times the time
(32 M elements, one thread: 2 s against 0.2 s; of logits 5 s against 0.4 s); compiling takes 15 s, once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import kernels
from kit.accuracy.part_sums import Layout, PartSums, sums_of_block
from kit.accuracy.ranking import TOP, RankTotals, rank_block
from kit.accuracy.torch_blocks import Read, TorchBlocks
from kit.accuracy.totals import Totals

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.part_sums import Floats
    from kit.accuracy.ranking import Rows


class CompiledBlocks:
    """As torch_blocks.TorchBlocks. Keeps its scratch array from block to block (fresh memory would
    cost as much as the sums do), so every thread needs its own."""

    def __init__(self, layout: Layout, *, ranked: bool) -> None:
        self._layout, self._ranked = layout, ranked
        self._powers = np.empty((2, layout.row if ranked else 0))
        self._instead = TorchBlocks(layout, ranked=ranked)
        self._shared: tuple[Floats, Floats] | None = None
        if layout.shared is not None:
            self._shared = layout.shared[0].numpy(), layout.shared[1].numpy()

    def __call__(self, offset: int, reference: Tensor, device: Tensor) -> Read:
        layout, totals, ranks = self._layout, Totals(), None
        ours, theirs = reference.numpy(), device.numpy()
        parts = sums_of_block(offset, reference.numel(), layout)
        begun = offset % layout.unit
        if self._ranked:
            rows = ours.reshape(-1, layout.row), theirs.reshape(-1, layout.row)
            at, ranks = self._add_rows(*rows, totals, parts, offset // layout.row)
        else:
            at = kernels.add_units(
                ours,
                theirs,
                totals.sums,
                totals.ends,
                layout.unit,
                begun,
                parts.units,
                parts.octaves,
            )
        if not math.isfinite(totals["square_reference"] + totals["square_device"]):
            return self._instead(offset, reference, device)
        if self._shared is not None:
            means = self._shared
            kernels.add_shared(ours, theirs, means[0], means[1], offset, layout.unit, parts.units)
        if parts.columns is not None:
            columns = np.zeros(parts.columns.shape[::-1])
            kernels.add_columns(ours, theirs, columns)
            parts.columns += columns.T
        totals["finite"], totals.largest_at = reference.numel(), offset + at
        return totals, ranks, parts

    def _add_rows(
        self, reference: Rows, device: Rows, totals: Totals, parts: PartSums, first_row: int
    ) -> tuple[int, RankTotals]:
        count, classes = reference.shape
        rows_of_unit = self._layout.rows_of_unit
        top = np.empty((2, count, min(TOP, classes)), dtype=np.int64)
        errors = np.empty(count)
        at, apart = kernels.add_rows(
            reference,
            device,
            totals.sums,
            totals.ends,
            top,
            self._powers,
            errors,
            rows_of_unit,
            first_row % rows_of_unit,
            parts.units,
            parts.octaves,
        )
        return at, rank_block(reference, device, top[0], top[1], apart, errors, first_row)
