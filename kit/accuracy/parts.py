"""Whether each part of an output is right by its own scale, not by that of the largest.

The rule. Masks are out already (kit/accuracy/fills.py). The parts of an output are its rows (vectors of
the last dimension), its channels (an index of any other dimension, and of the last one where the output
is a table: at least as many rows as columns), and its scale classes: parts, or values within rows, that
a gap of a factor of 16, or a valley between two peaks, sets apart. A part has a relative L2 of its own,

    ||e - mean e|| / ||r - mean r||,   e = device - reference,

in three ways: with nothing taken away, without the part's own mean, and (rows) without the mean row of
either side; the largest counts. What tells parts apart hides behind what they share otherwise.

It counts where it is above what rounding alone may do there. The floor of a part of n elements is, per
element, 4 max(2^-24, s (1 + 4 / sqrt n)) S, and at least 4 u times its own RMS. S is the scale that the
part was computed at: the RMS of its scale class, its own, or that of the plane that a row is of, the
largest. u is the unit roundoff of the dtype, by which results are rounded each by itself. s is how far
parts of this kind are off typically (the median of their error over S), or how far the reference itself
is off the fp64 truth there, where there is one; at most 2^-9 (or u): no arithmetic whose outputs are
within 1% rounds much worse, and larger errors are not excused by being everywhere. Where the reference
has values of ordinary size, 2^-25 may be lost: fp16 rounds what is smaller to 0.

Rounding is not correlated with what it rounds. So a part whose device values no longer follow the
reference's (their regression's slope is off 1 by more than 10%, at six standard errors) counts also
below that floor: a scale class always, a row or channel where it is larger than 4 s S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import part_sums as sums_of
from kit.accuracy.part_sums import ABS_R, COUNT, EE, RE, RR, E, Layout, PartSums, R
from kit.accuracy.probabilities import Distances
from kit.accuracy.thresholds import LOST
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_ENOUGH = 8  # elements that give a part a scale of its own
_CLASS = 64  # elements of a scale class at least, and a 16th of all parts or values
_GAP = 16.0
_NOTHING = 2.0**-24  # of the largest part
_EFFECTIVE = 32  # elements that a slope needs: (sum |r|)^2 / sum r^2
_VALLEY = 8  # times fewer values than at the lower of two peaks
_FLOOR, _FEW = 4.0, 4.0
_FP32 = 2.0**-24
_TYPICAL_MOST = 2.0**-9
_FLUSHED, _ORDINARY = 2.0**-25, 2.0**-6
_STANDARD_ERRORS = 6.0
# What is left of fp64 sums of squares when a mean is taken away.
_CANCELS = 1e-13


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part. `dimension` and `index` say where it is (a row's index is of all dimensions but the
    last; the row of a group is its first); both are None for values within rows. `members` are the
    parts of a scale class, `scale` is its RMS in the reference.

    `relative_l2` is its own, None where the reference has nothing there; `floor` is what rounding may do
    there, relative to the same; `slope` that of device on reference; `above_floor` whether the part
    counts.
    """

    dimension: int | None
    index: tuple[int, ...] | None
    members: int
    elements: int
    scale: float
    relative_l2: float | None
    floor: float | None
    slope: float | None
    above_floor: bool


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The worst row, channel and scale class; None where an output has none. `judged` is how many parts
    there are. `changed_ids` are [column, rows] where a table's column of whole numbers has others.

    Rows of probabilities (not negative, sum 1) also have the largest total variation, sum |e| / 2, and
    the largest Kullback-Leibler divergence, sum r log(r / d), of a row; their smallest values are no
    scale class.
    """

    judged: int
    row: Part | None = None
    channel: Part | None = None
    scale_class: Part | None = None
    changed_ids: tuple[int, int] | None = None
    total_variation: float | None = None
    divergence: float | None = None

    @property
    def named(self) -> dict[str, Part]:
        """Those that are there, by what they are called."""
        parts = {"row": self.row, "channel": self.channel, "scale class": self.scale_class}
        return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True, kw_only=True)
class _Rounding:
    """What rounding does to this output: its unit roundoff, and what is lost at any scale."""

    unit: float
    lost: float


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Figures of parts of one kind, arrays of one length."""

    count: Floats
    scale: Floats
    relative: Floats
    floor: Floats
    slope: Floats
    above: Bools


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
    """The parts of an output whose values times `scale` the sums are of; `own` are those of the fp64
    truth and the reference, where there is a truth.

    `roundoff` is the coarser dtype's, `smallest` its smallest number, `largest` max|r|.
    """
    lost = smallest if largest < _ORDINARY else max(smallest, _FLUSHED)
    rounding = _Rounding(unit=max(_FP32, roundoff), lost=lost * scale)
    rows: list[Part] = []
    channels: list[Part] = []
    classes: list[Part] = []
    judged = 0
    tables = _partitions(sums, layout)
    truths = tables if own is None else _partitions(own, layout)
    for (dimension, table), (_, truth) in zip(tables, truths, strict=True):
        members = _classes(table)
        error = None if own is None else _root(truth[:, EE], truth[:, COUNT])
        planes = _planes(table, layout) if dimension is None else None
        found, joined = _judge(table, members, rounding, error, planes)
        judged += int((found.count >= _ENOUGH).sum())
        if (found.count >= _ENOUGH).any():
            worst = _worst(found)
            place = _place(worst, dimension, layout)
            of_kind = rows if dimension is None else channels
            of_kind.append(_part(found, worst, scale, dimension=dimension, index=place))
        worst, count = _worst(joined), np.bincount(members)
        classes.append(_part(joined, worst, scale, dimension=dimension, members=int(count[worst])))
    if probabilities is None:
        classes += _octave_classes(sums.octaves, rounding, scale)
    return Parts(
        judged=judged,
        row=_first(rows),
        channel=_first(channels),
        scale_class=_first(classes),
        changed_ids=None if sums.columns is None else _changed_ids(sums.columns, rounding.unit),
        total_variation=None if probabilities is None else probabilities.total_variation,
        divergence=None if probabilities is None else probabilities.divergence,
    )


def _partitions(sums: PartSums, layout: Layout) -> list[tuple[int | None, Floats]]:
    """(dimension, the sums of its indices); None for the rows themselves."""
    found: list[tuple[int | None, Floats]] = [(None, sums.units)]
    shaped = sums.units.reshape(*layout.lead, sums_of.FIELDS)
    for dimension, size in enumerate(layout.lead):
        others = tuple(each for each in range(len(layout.lead)) if each != dimension)
        if size > 1 and math.prod(layout.lead) > size:
            found.append((dimension, shaped.sum(others)))
    if sums.columns is not None:
        found.append((-1, sums.columns))
    return found


def _planes(table: Floats, layout: Layout) -> Floats | None:
    """The RMS of the plane that each row is of, where rows are of planes (a feature map's channels)."""
    if len(layout.lead) < 3:
        return None
    sums = table[:, [RR, COUNT]].reshape(-1, layout.lead[-1], 2).sum(1)
    return np.repeat(_root(sums[:, 0], sums[:, 1]), layout.lead[-1])


def _classes(table: Floats) -> NDArray[np.int64]:
    """The scale class of each part, by gaps in their raw scales; few parts between two gaps are of the
    class above, and those that hold next to nothing, of the class that most are of."""
    scale = _root(table[:, RR], table[:, COUNT])
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


def _judge(
    table: Floats,
    classes: NDArray[np.int64],
    rounding: _Rounding,
    own_error: Floats | None,
    planes: Floats | None,
) -> tuple[_Judged, _Judged]:
    """Every part, and every scale class of them. `own_error` is the reference's, per element; `planes`
    are scales that the parts were computed at, at least."""
    count, ways = table[:, COUNT], _ways(table)
    own, joined = _root(table[:, RR], count), _joined(table, classes)
    together = _root(joined[:, RR], _joined(np.where(own > 0, count, 0.0)[:, None], classes)[:, 0])
    scale = np.maximum(own, together[classes])
    if planes is not None:
        scale = np.maximum(scale, planes)
    there = own > 0
    typical = np.zeros(len(table))
    if there.any():
        off = np.sort(_root(table[there, EE], count[there]) / scale[there])
        typical[:] = off[(len(off) - 1) // 2]
    of_classes = np.full(len(joined), typical.max(initial=0.0))
    if own_error is not None:
        typical = np.maximum(typical, own_error / np.where(scale > 0, scale, 1.0))
    most = max(_TYPICAL_MOST, rounding.unit)
    typical, of_classes = np.minimum(typical, most), np.minimum(of_classes, most)
    # A single part may be quieter than what others' rounding does: then it follows nothing.
    heard = own > _FLOOR * typical * scale
    parts = _figures(table, own, ways, scale, typical, rounding, heard)
    all_ways = [_joined(way, classes) for way in ways]
    everywhere = np.ones(len(joined), dtype=bool)
    return parts, _figures(joined, together, all_ways, together, of_classes, rounding, everywhere)


def _joined(table: Floats, classes: NDArray[np.int64]) -> Floats:
    return np.stack([np.bincount(classes, column) for column in table.T], axis=1)


def _figures(
    table: Floats,
    own: Floats,
    ways: Sequence[Floats],
    scale: Floats,
    typical: Floats,
    rounding: _Rounding,
    heard: Bools,
) -> _Judged:
    """The figures of parts that were computed at `scale`; where they are `heard`, the slope counts."""
    count = table[:, COUNT]
    effective = table[:, ABS_R] ** 2 / np.where(table[:, RR] > 0, table[:, RR], 1.0)
    heard = heard & (effective >= _EFFECTIVE)
    least = np.maximum(_FLOOR * _FP32 * scale, _FLOOR * rounding.unit * own)
    least = np.maximum(least, rounding.lost)
    # The RMS of few errors is further off the typical one than that of many.
    few = 1 + _FEW / np.sqrt(np.maximum(count, 1))
    floor = np.maximum(_FLOOR * few * typical * scale, least)
    relative, allowed = np.zeros(len(count)), np.full(len(count), np.inf)
    slope, above = np.ones(len(count)), np.zeros(len(count), dtype=bool)
    for rr, ee, re in (way.T for way in ways):
        with np.errstate(divide="ignore", invalid="ignore"):
            here = np.where(ee > 0, np.sqrt(ee / rr), 0.0)
            allowed_here = np.where(rr > 0, floor * np.sqrt(count / rr), np.inf)
            slope_here = np.where(rr > 0, 1 + re / rr, 1.0)
            rest = np.maximum(ee - re * re / rr, 0.0)
            sure = re * re > _STANDARD_ERRORS**2 * rr * rest / np.maximum(effective, 1)
        lost = heard & (np.abs(slope_here - 1) > LOST) & sure & (rr > least**2 * count)
        counts = (count > 0) & (ee > least**2 * count) & ((ee > floor**2 * count) | lost)
        larger = (counts & ~above) | ((counts == above) & (here > relative))
        relative[larger], allowed[larger] = here[larger], allowed_here[larger]
        slope[larger] = slope_here[larger]
        above |= counts
    return _Judged(
        count=count, scale=own, relative=relative, floor=allowed, slope=slope, above=above
    )


def _ways(table: Floats) -> list[Floats]:
    """[parts, (r^2, e^2, r e)]: with nothing taken away, without the part's own mean, and without the
    mean row."""
    count = np.maximum(table[:, COUNT], 1)
    r, e, rr, ee, re = (table[:, name] for name in (R, E, RR, EE, RE))
    own = rr - r * r / count
    own[own < _CANCELS * rr] = 0.0
    error = np.maximum(ee - e * e / count, 0.0)
    error[error < _CANCELS * ee] = 0.0
    ways = [table[:, [RR, EE, RE]], np.stack([own, error, re - r * e / count], axis=1)]
    if table[:, sums_of.SHARED_RR].any():
        ways.append(table[:, [sums_of.SHARED_RR, sums_of.SHARED_EE, sums_of.SHARED_RE]])
    return ways


def _worst(found: _Judged) -> int:
    """The number of the worst part that has elements enough."""
    key = np.where(found.above, 1e100, 1.0) * np.minimum(found.relative, 1e100)
    key[~found.above & np.isinf(found.relative)] = 0.0  # rounding where the reference has nothing
    return int(np.where(found.count >= _ENOUGH, key, -1).argmax())


def _place(number: int, dimension: int | None, layout: Layout) -> tuple[int, ...]:
    if dimension is not None:
        return (number,)
    if layout.rows_of_unit > 1 and len(layout.lead) == 1:
        return (number * layout.rows_of_unit,)
    return tuple(int(each) for each in np.unravel_index(number, layout.lead or (1,)))


def _part(
    found: _Judged,
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
        floor=finite(float(found.floor[number])),
        slope=finite(float(found.slope[number])),
        above_floor=bool(found.above[number]),
    )


def _octave_classes(octaves: Floats, rounding: _Rounding, scale: float) -> list[Part]:
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
        least = _FP32**2 * largest
        if members < max(_CLASS, total / 16) or rr <= (4 * _FLOOR) ** 2 * least:
            continue  # too few, or the reference's own rounding
        floor = _FLOOR * max(math.sqrt(least), rounding.unit * math.sqrt(rr))
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


def _changed_ids(columns: Floats, roundoff: float) -> tuple[int, int] | None:
    """A column of whole numbers, not all of them equal, in a table that has other columns too, of which
    some are other whole numbers on the device: (column, how many)."""
    whole = (columns[:, sums_of.FRACTIONAL] == 0) & (columns[:, RR] > 0)
    # Beyond, every value of a coarse dtype is whole.
    whole &= columns[:, RR] < (2.0**-8 / roundoff) ** 2 * columns[:, COUNT]
    spread = columns[:, RR] * columns[:, COUNT] > columns[:, R] ** 2 * (1 + 1e-12)
    changed = np.where(whole & spread, columns[:, sums_of.CHANGED], 0)
    if not (columns[:, sums_of.FRACTIONAL] > 0).any() or not changed.any():
        return None
    return int(changed.argmax()), int(changed.max())


def _first(parts: Sequence[Part]) -> Part | None:
    """The worst of several: one that counts before one that does not."""

    def key(part: Part) -> tuple[bool, float]:
        return part.above_floor, math.inf if part.relative_l2 is None else part.relative_l2

    return max(parts, key=key, default=None)


def _root(squares: Floats, count: Floats) -> Floats:
    return np.sqrt(squares / np.maximum(count, 1))
