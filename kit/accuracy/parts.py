"""Whether each part of an output is right by its own scale, not by that of the largest.

The rule. Masks are out already (kit/accuracy/fills.py). The parts of an output are its rows (vectors of
the last dimension; stretches of one that is thousands long; the values of an output that has but few),
its channels (an index of any other dimension, and of the last one), and its scale classes: parts, or
values within rows, that a gap of a factor of 16, or a valley between two peaks, sets apart. A part has a
relative L2 of its own,

    ||e - mean e|| / ||r - mean r||,   e = device - reference,

in three ways: with nothing taken away, without the part's own mean, and (rows) without the mean row of
either side; the largest counts. What tells parts apart hides behind what they share otherwise. And it
has a largest error beside its largest value, behind which no single one of its values hides.

It counts where it is above what rounding alone may do there. The floor of a part of n elements is, per
element, 4 max(2^-24, s (1 + 4 / sqrt n)) S, and at least 4 u times its own RMS; that of a largest error
is the floor of one element. S is the scale that the part was computed at: the RMS of its scale class, its
own, or that of the plane that a row is of (of the row that a stretch is of), the largest. u is the unit
roundoff of the dtype, by which results are rounded each by itself. s is how far parts of this kind are
off typically (the median of their error over S); at most 2^-9 (or u): no arithmetic whose outputs are
within 1% rounds much worse, and larger errors are not excused by being everywhere. Where the reference
has values of ordinary size, 2^-25 may be lost: fp16 rounds what is smaller to 0.

The golden, where there is one, tells both better. s is at least how far the reference itself is off
in the part, and S at most 4 (1 + 4 / sqrt n) 2^24 times the largest error that fp32 made there: a quiet
part that was computed by itself is heard, one that is left of large numbers is not. Without it a part
that is quieter than its floor is not: `unheard` counts those, and a PASS says so.

Rounding is not correlated with what it rounds. So a part whose device values no longer follow the
reference's (their regression's slope is off 1 by more than 10%, at six standard errors) counts also
below that floor: a scale class always, a row or channel where it is larger than 4 s S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import part_sums as sums_of
from kit.accuracy.part import Part, Parts
from kit.accuracy.part_figures import FP32, Judged, Rounding, judge_table, planes_of
from kit.accuracy.part_sums import COUNT, RR, E, Layout, PartSums, R
from kit.accuracy.probabilities import Distances
from kit.accuracy.ranking import grain
from kit.accuracy.scale_classes import classes_of, quiet_values
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FLUSHED, _ORDINARY = 2.0**-25, 2.0**-6


def find_parts(
    sums: PartSums,
    layout: Layout,
    *,
    roundoff: float,
    smallest: float,
    largest: float,
    scale: float,
    probabilities: Distances | None,
    own: PartSums | None,
) -> Parts:
    """The parts of an output whose values times `scale` the sums are of; `own` are those of
    the reference's own error, against the golden, where there is one.

    `roundoff` is the coarser dtype's, `smallest` its smallest number, `largest` max|r|.
    """
    lost = smallest if largest < _ORDINARY else max(smallest, _FLUSHED)
    rounding = Rounding(unit=max(FP32, roundoff), lost=lost * scale)
    rows: list[Part] = []
    channels: list[Part] = []
    classes: list[Part] = []
    changed_ids = None if sums.columns is None else _changed_ids(sums.columns, rounding.unit)
    judged = unheard = 0
    tables = _partitions(sums, layout)
    own_tables = tables if own is None else _partitions(own, layout)
    for (dimension, table), (_, own_table) in zip(tables, own_tables, strict=True):
        members = classes_of(table)
        if layout.cut and dimension is None:  # silence is no scale of its own
            members[:] = 0
        planes = planes_of(table, layout) if dimension is None else None
        found, joined = judge_table(
            table, members, rounding, None if own is None else own_table, planes
        )
        if layout.unit == 1 and dimension is None:
            changed_ids = _changed_value(table, found.peak, rounding.unit)
        judged += int((found.count > 0).sum())
        unheard += int(found.unheard.sum())
        if (found.count > 0).any():
            worst = _worst(found)
            place = _place(worst, dimension, layout)
            of_kind = rows if dimension is None else channels
            of_kind.append(_part(found, worst, scale, dimension=dimension, index=place))
        worst, count = _worst(joined), np.bincount(members)
        classes.append(_part(joined, worst, scale, dimension=dimension, members=int(count[worst])))
    if probabilities is None and not layout.cut:
        classes += quiet_values(sums.octaves, rounding, scale)
    return Parts(
        judged=judged,
        unheard=unheard,
        row=_first(rows),
        channel=_first(channels),
        scale_class=_first(classes),
        changed_ids=changed_ids,
        total_variation=None if probabilities is None else probabilities.total_variation,
        divergence=None if probabilities is None else probabilities.divergence,
        one_class=None if probabilities is None else probabilities.one_class,
    )


def _partitions(sums: PartSums, layout: Layout) -> list[tuple[int | None, Floats]]:
    """(dimension, the sums of its indices); None for the rows themselves."""
    found: list[tuple[int | None, Floats]] = [(None, sums.units)]
    shaped = sums.units.reshape(*layout.lead, sums_of.FIELDS)
    for dimension, size in enumerate(layout.lead):
        others = tuple(each for each in range(len(layout.lead)) if each != dimension)
        if size > 1 and math.prod(layout.lead) > size:
            found.append((dimension, sums_of.joined(shaped, others)))
    if sums.columns is not None:
        found.append((-1, sums.columns))
    return found


def _worst(found: Judged) -> int:
    """The number of the worst part that has elements."""
    key = np.where(found.above, 1e100, 1.0) * np.minimum(found.distance, 1e100)
    key[~found.above & np.isinf(found.relative)] = 0.0  # rounding where the reference has nothing
    return int(np.where(found.count > 0, key, -1).argmax())


def _place(number: int, dimension: int | None, layout: Layout) -> tuple[int, ...]:
    if dimension is not None:
        return (number,)
    if layout.rows_of_unit > 1 and len(layout.lead) == 1:
        return (number * layout.rows_of_unit,)
    return tuple(int(each) for each in np.unravel_index(number, layout.lead or (1,)))


def _part(
    found: Judged,
    number: int,
    scale: float,
    *,
    dimension: int | None,
    index: tuple[int, ...] | None = None,
    members: int = 1,
) -> Part:
    return Part(
        dimension=dimension,
        index=index,
        members=members,
        elements=int(found.count[number]),
        scale=float(found.scale[number]) / scale,
        relative_l2=finite(float(found.relative[number])),
        max_over_range=float(found.peak[number]) or None,
        floor=finite(float(found.floor[number])),
        slope=finite(float(found.slope[number])),
        above_floor=bool(found.above[number]),
    )


def _changed_ids(columns: Floats, roundoff: float) -> tuple[int, int] | None:
    """A column of whole numbers, not all of them equal, in a table that has other columns too, of which
    some are other whole numbers on the device: (column, how many)."""
    if len(columns) > sums_of.TABLE:
        return None
    whole = (columns[:, sums_of.FRACTIONAL] == 0) & (columns[:, RR] > 0)
    # Beyond, every value of a coarse dtype is whole.
    whole &= columns[:, RR] < (2.0**-8 / roundoff) ** 2 * columns[:, COUNT]
    spread = columns[:, RR] * columns[:, COUNT] > columns[:, R] ** 2 * (1 + 1e-12)
    changed = np.where(whole & spread, columns[:, sums_of.CHANGED], 0)
    if not (columns[:, sums_of.FRACTIONAL] > 0).any() or not changed.any():
        return None
    return int(changed.argmax()), int(changed.max())


def _changed_value(table: Floats, peak: Floats, roundoff: float) -> tuple[int, int] | None:
    """Of few values, each a part, the same: (its number, 1) of a whole number among others that are none,
    which is another whole number on the device, further off than rounding makes it (`peak`)."""
    values, device = table[:, R], table[:, R] + table[:, E]
    whole = (values == values.round()) & (device == device.round())
    whole &= np.abs(values) < 2.0**-8 / max(roundoff, float(grain(values)))
    changed = whole & (device != values) & (peak > 0)
    if (values == values.round()).all() or not changed.any():
        return None
    return int(changed.argmax()), 1


def _first(parts: Sequence[Part]) -> Part | None:
    """The worst of several: one that counts before one that does not."""

    def key(part: Part) -> tuple[bool, float]:
        return part.above_floor, part.distance

    return max(parts, key=key, default=None)
