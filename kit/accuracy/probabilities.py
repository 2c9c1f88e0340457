"""Rows of probabilities: the distances that are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.blocks import blocks, widen
from kit.accuracy.part_sums import ABS_E, COUNT, Layout, PartSums, R
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1 << 18  # elements
_SUM = 1e-2  # how far a row's sum may be from 1: that of bf16 values
_LEAST = 2.0**-24  # what fp16 flushes to 0 is none of the divergence


@dataclass(frozen=True, kw_only=True)
class Distances:
    """The largest of a row: total variation, and divergence in nats; None where it is infinite."""

    total_variation: float
    divergence: float | None


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
    return Distances(
        total_variation=float(sums.units[:, ABS_E].max()) / 2,
        divergence=finite(max(_divergences(pair, layout.row), default=0.0)),
    )


def _divergences(pair: tuple[Tensor, Tensor], row: int) -> list[float]:
    found = []
    for _, ours, theirs in blocks(*pair, _BLOCK, row=row):
        r, d = (
            widen(side, single=False).view(-1, row).nan_to_num().clamp(min=_LEAST)
            for side in (ours, theirs)
        )
        # sum r log(r / d) - r + d: of rows whose sums differ by rounding, too, it is not negative.
        found.append(float((r * (r / d).log() - r + d).sum(1).max()))
    return found
