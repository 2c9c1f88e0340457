"""Scale classes: parts, or values within rows, that are far smaller than the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import part_sums as sums_of
from kit.accuracy.part import Part
from kit.accuracy.part_figures import FLOOR, FP32, Rounding, root
from kit.accuracy.part_sums import COUNT, RR
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Elements of a scale class at least, and a 16th of all parts or values: so many do not all come out a
# 16th as large by chance.
_CLASS = 4
_VALUES = 32  # values within rows at least
_GAP = 16.0
_NOTHING = 2.0**-24  # of the largest part
_VALLEY = 8  # times fewer values than at the lower of two peaks


def classes_of(table: Floats) -> NDArray[np.int64]:
    """The scale class of each part, by gaps in their raw scales; few parts between two gaps are of the
    class above, and those that hold next to nothing, of the class that most are of."""
    scale = root(table[:, RR], table[:, COUNT])
    there = np.flatnonzero(scale > _NOTHING * scale.max(initial=0.0))
    order = there[np.argsort(-scale[there], kind="stable")]
    classes = np.zeros(len(table), dtype=np.int64)
    gaps = np.flatnonzero(scale[order[:-1]] > _GAP * scale[order[1:]]) + 1
    number = 0
    for members in np.split(order, gaps)[1:]:
        large = 16 * len(members) >= len(order) and table[members, COUNT].sum() >= _CLASS
        number += int(large)
        classes[members] = number
    if len(order):
        nothing = np.ones(len(table), dtype=bool)
        nothing[there] = False
        classes[nothing] = np.bincount(classes[there]).argmax()
    return classes


def quiet_values(octaves: Floats, rounding: Rounding, scale: float) -> list[Part]:
    """The values within rows that lie below a valley of their octaves, between two peaks."""
    count = octaves[:, 0]
    total = count.sum()
    parts = []
    for valley in range(1, sums_of.OCTAVES - 1):
        deepest = count[valley]
        peaks = count[:valley].max(), count[valley + 1 :].max()
        members, rr, ee, re, largest = octaves[:valley].sum(0)
        if deepest > min(peaks) / _VALLEY or deepest > count[valley - 1 : valley + 2].min():
            continue
        least = FP32**2 * largest
        if members < max(_VALUES, total / 16) or rr <= (4 * FLOOR) ** 2 * least:
            continue  # too few, or the reference's own rounding
        floor = FLOOR * max(math.sqrt(least), rounding.unit * math.sqrt(rr))
        floor = max(floor, rounding.lost * math.sqrt(members))
        error, norm = math.sqrt(ee), math.sqrt(rr)
        parts.append(
            Part(
                dimension=None,
                index=None,
                members=int(members),
                elements=int(members),
                scale=norm / math.sqrt(members) / scale,
                relative_l2=finite(error / norm),
                floor=finite(floor / norm),
                slope=finite(1 + re / rr),
                above_floor=error > floor,
            )
        )
    return parts
