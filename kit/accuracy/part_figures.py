"""The figures of parts of one kind: their own relative L2, and what rounding may do there.

The rule is in kit/accuracy/parts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy import part_sums as sums_of
from kit.accuracy.part_sums import ABS_R, COUNT, EE, MAX_E, MAX_R, RE, RR, E, Layout, R
from kit.accuracy.thresholds import LOST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_EFFECTIVE = 32  # elements that a slope needs: (sum |r|)^2 / sum r^2
FLOOR, _FEW = 4.0, 4.0
FP32 = 2.0**-24
_TYPICAL_MOST = 2.0**-9
_STANDARD_ERRORS = 6.0
# What is left of fp64 sums of squares when a mean is taken away.
_CANCELS = 1e-13


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What rounding does to this output: its unit roundoff, and what is lost at any scale."""

    unit: float
    lost: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Figures of parts of one kind, arrays of one length."""

    count: Floats
    scale: Floats
    relative: Floats
    peak: Floats
    floor: Floats
    slope: Floats
    above: Bools
    unheard: Bools

    @property
    def distance(self) -> Floats:
        """How far each part is off, by what is larger."""
        return np.maximum(self.relative, self.peak)


def planes_of(table: Floats, layout: Layout) -> Floats | None:
    """The RMS of the plane that each row is of, where rows are of planes (a feature map's channels), or of
    the row that each stretch is of."""
    if len(layout.lead) < 3 and not layout.cut:
        return None
    sums = table[:, [RR, COUNT]].reshape(-1, layout.lead[-1], 2).sum(1)
    return np.repeat(root(sums[:, 0], sums[:, 1]), layout.lead[-1])


def judge_table(
    table: Floats,
    classes: NDArray[np.int64],
    rounding: Rounding,
    own_table: Floats | None,
    planes: Floats | None,
) -> tuple[Judged, Judged]:
    """Every part, and every scale class of them. `own_table` has the sums of the
    reference's own error, against the golden; `planes` are scales that the parts were computed at, at
    least."""
    count, ways = table[:, COUNT], _ways(table)
    own, joined = root(table[:, RR], count), _joined(table, classes)
    together = root(joined[:, RR], _joined(np.where(own > 0, count, 0.0)[:, None], classes)[:, 0])
    scale = np.maximum(own, together[classes])
    if planes is not None:
        scale = np.maximum(scale, planes)
    if own_table is not None:
        scale = np.maximum(own, np.minimum(scale, _scale_of_error(own_table)))
    there = own > 0
    typical = np.zeros(len(table))
    if there.any():
        off = np.sort(root(table[there, EE], count[there]) / scale[there])
        typical[:] = off[(len(off) - 1) // 2]
    of_classes = np.full(len(joined), typical.max(initial=0.0))
    if own_table is not None:
        own_error = root(own_table[:, EE], own_table[:, COUNT])
        typical = np.maximum(typical, own_error / np.where(scale > 0, scale, 1.0))
    most = max(_TYPICAL_MOST, rounding.unit)
    typical, of_classes = np.minimum(typical, most), np.minimum(of_classes, most)
    # A single part may be quieter than what others' rounding does: then it follows nothing.
    heard = own > FLOOR * typical * scale
    parts = _figures(table, own, ways, scale, typical, rounding, heard)
    all_ways = [_joined(way, classes) for way in ways]
    everywhere = np.ones(len(joined), dtype=bool)
    return parts, _figures(joined, together, all_ways, together, of_classes, rounding, everywhere)


def _scale_of_error(own_table: Floats) -> Floats:
    """The scale that the reference's own error in fp32 tells of; infinite where it has none."""
    count, most = np.maximum(own_table[:, COUNT], 1), own_table[:, MAX_E]
    return np.where(most > 0, FLOOR * (1 + _FEW / np.sqrt(count)) * most / FP32, np.inf)


def _joined(table: Floats, classes: NDArray[np.int64]) -> Floats:
    """Sums over the parts of each class; what is largest in one is left out."""
    if classes.any():
        columns = [np.bincount(classes, column) for column in table.T]
        found = np.stack(columns, axis=1, dtype=np.float64)
    else:  # mostly there is one
        found = table.sum(0, keepdims=True)
    found[:, MAX_R:] = 0.0
    return np.asarray(found)


def _figures(
    table: Floats,
    own: Floats,
    ways: Sequence[Floats],
    scale: Floats,
    typical: Floats,
    rounding: Rounding,
    heard: Bools,
) -> Judged:
    """The figures of parts that were computed at `scale`; where they are `heard`, the slope counts."""
    count = table[:, COUNT]
    effective = table[:, ABS_R] ** 2 / np.where(table[:, RR] > 0, table[:, RR], 1.0)
    heard = heard & (effective >= _EFFECTIVE)
    least = np.maximum(FLOOR * FP32 * scale, FLOOR * rounding.unit * own)
    least = np.maximum(least, rounding.lost)
    # The RMS of few errors is further off the typical one than that of many.
    few = 1 + _FEW / np.sqrt(np.maximum(count, 1))
    floor = np.maximum(FLOOR * few * typical * scale, least)
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
    peak = _peaks(table, np.maximum(typical, FP32) * scale, rounding)
    return Judged(
        count=count,
        scale=own,
        relative=relative,
        peak=peak,
        floor=allowed,
        slope=slope,
        above=above | (peak > 0),
        unheard=(own > 0) & (floor >= own),
    )


def _peaks(table: Floats, typical: Floats, rounding: Rounding) -> Floats:
    """The largest |e| over the largest |r| of each part, where that is more than rounding does to a single
    value; 0 elsewhere. Scale classes have none."""
    largest, error = table[:, MAX_R], table[:, MAX_E]
    floor = np.maximum(FLOOR * (1 + _FEW) * typical, FLOOR * rounding.unit * largest)
    floor = np.maximum(floor, rounding.lost)
    return np.where((error > floor) & (largest > 0), error / np.where(largest > 0, largest, 1), 0.0)


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


def root(squares: Floats, count: Floats) -> Floats:
    """The RMS of parts from the sums of their squares; 0 where they have no elements."""
    return np.sqrt(squares / np.maximum(count, 1))
