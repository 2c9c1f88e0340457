"""Rows of probabilities: the distances that are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.blocks import blocks, widen
from kit.accuracy.part_sums import ABS_E, COUNT, Layout, PartSums, R
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_BLOCK = 1 << 18  # elements
_SUM = 1e-2  # how far a row's sum may be from 1: that of bf16 values
_LEAST = 2.0**-24  # what fp16 flushes to 0 is none of the divergence
_COUNTS = 2.0**-10  # a class that is less probable counts in the sums only
_BEYOND = (
    20.0  # times what the typical row's probabilities are off, as it is of a single value of a part
)


@dataclass(frozen=True, kw_only=True)
class Distances:
    """The largest of a row: total variation, divergence in nats (None where it is infinite), and how far
    one class is off, as a ratio to its own probability less 1, beyond what all rows are off."""

    total_variation: float
    divergence: float | None
    one_class: float


def distances(
    pair: tuple[Tensor, Tensor], sums: PartSums, layout: Layout, least: float
) -> Distances | None:
    """Those of a pair whose reference's smallest value is `least`; None where its rows are no
    probabilities: not negative, with a sum of 1 (or, masked, of 0)."""
    if not 0 <= least < 1 or layout.unit != layout.row or layout.row < 2 or not len(sums.units):
        return None
    total = sums.units[:, R]
    ones = np.abs(total - 1) <= _SUM
    if not ones.any() or not (ones | (total == 0)).all() or (sums.units[:, COUNT] == 0).any():
        return None
    found = np.concatenate(_rows(pair, layout.row), axis=1)
    divergence, one_class = found
    # A divergence of x is one of sqrt(2 x) in the logarithms of the probabilities, by their RMS.
    typical = float(np.sqrt(2 * np.median(divergence)))
    largest = float(one_class.max())
    return Distances(
        total_variation=float(sums.units[:, ABS_E].max()) / 2,
        divergence=finite(float(divergence.max())),
        one_class=largest if largest > _BEYOND * typical else 0.0,
    )


def _rows(pair: tuple[Tensor, Tensor], row: int) -> list[NDArray[np.float64]]:
    """Of each block, [2, rows]: divergences, and how far the class that is furthest off is."""
    import torch

    found = []
    for _, ours, theirs in blocks(*pair, _BLOCK, row=row):
        r, d = (
            widen(side, single=False).view(-1, row).nan_to_num().clamp(min=_LEAST)
            for side in (ours, theirs)
        )
        # sum r log(r / d) - r + d: of rows whose sums differ by rounding, too, it is not negative.
        divergence = (r * (r / d).log() - r + d).sum(1)
        off = ((d - r).abs() / r).where(r >= _COUNTS, 0.0).amax(1)
        found.append(torch.stack([divergence, off]).numpy())
    return found
