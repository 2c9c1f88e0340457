"""The figures of one block in one compiled pass, for outputs of many millions of elements.

Needs numba (requirements-fast.txt). torch's separate passes over a block take about twenty times the time
(100 M elements, one thread: 10 s against 0.4 s; of logits 20 s against 0.7 s); compiling takes 10 s, once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.compiled.ranks import add_rows
from kit.accuracy.compiled.units import add_columns, add_shared, add_units
from kit.accuracy.part_sums import TABLE, Layout, add, joined, sums_of_block
from kit.accuracy.ranking import TOP, rank_block
from kit.accuracy.torch_blocks import Read, TorchBlocks
from kit.accuracy.totals import Totals

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.part_sums import Floats
    from kit.accuracy.ranking import RankTotals, Rows

    Into = tuple[Floats, Floats, int, int, Floats, Floats]


_WIDE = 256  # elements: shorter rows are added to the sums of the columns several at once


class CompiledBlocks:
    """As torch_blocks.TorchBlocks. Every thread needs its own."""

    def __init__(self, layout: Layout, *, ranked: bool) -> None:
        self._layout, self._ranked = layout, ranked
        self._instead = TorchBlocks(layout, ranked=ranked)
        self._apart = 0.0  # the largest difference of two probabilities so far
        self._shared: tuple[Floats, Floats] | None = None
        if layout.shared is not None:
            self._shared = layout.shared[0].numpy(), layout.shared[1].numpy()

    def __call__(self, offset: int, reference: Tensor, device: Tensor) -> Read:
        layout, totals, ranks = self._layout, Totals(), None
        ours, theirs = reference.numpy(), device.numpy()
        parts = sums_of_block(offset, reference.numel(), layout)
        begun = offset % layout.unit
        into = totals.sums, totals.ends, layout.unit, begun, parts.units, parts.octaves
        if self._ranked:
            rows = (-1, layout.row)
            at, ranks = self._rank(ours.reshape(rows), theirs.reshape(rows), into, offset)
        else:
            at = add_units(ours, theirs, *into)
        if not math.isfinite(totals["square_reference"] + totals["square_device"]):
            return self._instead(offset, reference, device)
        if ranks is not None:
            self._apart = ranks.softmax_max_diff
        if self._shared is not None:
            add_shared(ours, theirs, *self._shared, offset, layout.unit, parts.units)
        if parts.columns is not None:
            self._add_columns(ours, theirs, parts.columns)
        totals.largest_at = offset + at
        return totals, ranks, parts

    def _add_columns(self, ours: Rows, theirs: Rows, columns: Floats) -> None:
        """Of several short rows at once: an even part of the block, then the rest."""
        row = self._layout.row
        together = max(1, _WIDE // row)
        even = ours.size // (row * together) * row * together
        for part, rows in ((slice(even), together), (slice(even, None), 1)):
            found = np.zeros((columns.shape[1], rows * row))
            add_columns(ours[part], theirs[part], found, row <= TABLE)
            add(columns, joined(found.T.reshape(rows, row, -1), (0,)))

    def _rank(self, ours: Rows, theirs: Rows, into: Into, offset: int) -> tuple[int, RankTotals]:
        rows, classes = ours.shape
        top = np.empty((2, rows, min(TOP, classes)), dtype=np.int64)
        scores, errors = np.empty((rows, 3)), np.empty(rows)
        at, apart = add_rows(
            ours.reshape(-1), theirs.reshape(-1), *into, top, scores, errors, self._apart
        )
        first_row = offset // classes
        return at, rank_block(ours, theirs, top[0], top[1], scores, apart, errors, first_row)
