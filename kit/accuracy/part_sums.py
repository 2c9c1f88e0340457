"""Sums over the parts of a pair of tensors, from the same walk over its blocks as every other figure.

A unit is a row (a vector of the last dimension), or several rows where there are too many: channels
follow from the units, since an index of any other dimension is a set of whole rows. Columns have sums of
their own. What lies within a row in several scales is counted by octaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# What is summed of each part, with r the reference and e = device - reference; shared_*: the same
# without the mean row of either side, where rows share one. The last two are not sums, but the largest.
COUNT, R, E, RR, EE, RE, ABS_R, ABS_E, SHARED_RR, SHARED_EE, SHARED_RE, MAX_R, MAX_E = range(13)
FIELDS = 13
_PEAKS = slice(MAX_R, FIELDS)
# Of each octave of |r| / (the row's RMS): elements, r^2, e^2, r e, and the square of the row's largest.
# From 2^-26 times the RMS, below which there is but rounding, to 2^24 times.
OCTAVES, LOWEST = 50, -26
OCTAVE_FIELDS = 5
# Beside FIELDS, of a column: its values that are no whole numbers, and those whose whole number changed.
FRACTIONAL, CHANGED = FIELDS, FIELDS + 1

_MOST_UNITS = 1 << 18
_MOST_COLUMNS = 1 << 14
_WIDE = 1 << 12  # columns of a tensor that has fewer rows than these
TABLE = 32  # columns at most, one of which may be of ids
_FEW_VALUES = 64  # of a whole output: each is a part
# A longer row is cut into stretches of at least this length (up to four times), where that is even.
_LONG_ROW, _STRETCH, _MOST_STRETCHES = 1 << 12, 256, 1 << 14
_SAMPLED, _SAMPLED_ELEMENTS = 64, 1 << 18
# A row is looked at by octaves where a 16th of it is below this, times its RMS (a 40th of a normal one).
QUIET = 2.0**-5
QUIET_SHARE = 1 / 16
LONG = 64  # elements of a row that has scales within


@dataclass(frozen=True)
class Layout:
    """How a shape is cut: `lead` are the dimensions that count units, each of `unit` elements (the last
    may be shorter where `rows_of_unit` rows go together); `row` is the length of the last dimension;
    `columns` says whether its indices are parts, `cut` whether a unit is but a stretch of a longer row;
    `shared` are both sides' mean rows, or None."""

    row: int
    unit: int
    lead: tuple[int, ...]
    rows_of_unit: int
    columns: bool
    cut: bool = False
    shared: tuple[Tensor, Tensor] | None = None

    @property
    def units(self) -> int:
        """How many there are."""
        return math.prod(self.lead)


def by_rows(tensor: Tensor) -> tuple[Tensor, bool]:
    """A view of an output whose last dimension are the rows that are parts, and whether it cuts longer
    ones. A last dimension of 1 makes no rows of one value each, few values are a row each, and a long row
    is cut into stretches."""
    while tensor.dim() > 1 and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    row = tensor.shape[-1]
    if row == tensor.numel() <= _FEW_VALUES:
        return tensor.reshape(row, 1), False
    least = max(_STRETCH, tensor.numel() // _MOST_STRETCHES)
    even = (size for size in range(least, 4 * _STRETCH) if row % size == 0)
    if row >= _LONG_ROW and (size := next(even, None)):
        return tensor.unflatten(-1, (-1, size)), True
    return tensor, False


def joined(table: Floats, axes: tuple[int, ...]) -> Floats:
    """The sums of parts that consist of others: those along `axes` of [..., FIELDS]."""
    found = table.sum(axes)
    found[..., _PEAKS] = table[..., _PEAKS].max(axes)
    return np.asarray(found)


def add(table: Floats, other: Floats) -> None:
    """Take in the sums of the same parts over other elements."""
    peaks = np.maximum(table[..., _PEAKS], other[..., _PEAKS])
    with np.errstate(invalid="ignore", over="ignore"):  # sums that leave fp64 are not used
        table += other
    table[..., _PEAKS] = peaks


def layout_of(shape: tuple[int, ...], *, paired: bool, cut: bool = False) -> Layout:
    """The layout of a shape of at least one dimension; `paired` where the last one is of real and
    imaginary parts, which belong to one row."""
    if paired and len(shape) > 1:
        shape = (*shape[:-2], shape[-2] * shape[-1])
    lead, row = shape[:-1], shape[-1]
    rows = math.prod(lead)
    unit = row
    while len(lead) > 1 and math.prod(lead) > _MOST_UNITS:
        unit *= lead[-1]
        lead = lead[:-1]
    together = max(1, math.ceil(math.prod(lead) / _MOST_UNITS))
    if together > 1:
        lead = (math.ceil(math.prod(lead) / together),)
        unit *= together
    columns = not paired and rows > 1 and 1 < row <= (_MOST_COLUMNS if row <= rows else _WIDE)
    return Layout(
        row=row,
        unit=unit,
        lead=lead,
        rows_of_unit=unit // row,
        columns=columns and not cut,
        cut=cut and unit == row,
    )


@dataclass
class PartSums:
    """Sums of units [units, FIELDS] from number `first` on, of columns, and of octaves."""

    units: Floats
    columns: Floats | None
    octaves: Floats = field(default_factory=lambda: np.zeros((OCTAVES, OCTAVE_FIELDS)))
    first: int = 0

    def add(self, other: PartSums) -> None:
        """Take in the sums of a block."""
        add(self.units[other.first : other.first + len(other.units)], other.units)
        if self.columns is not None and other.columns is not None:
            add(self.columns, other.columns)
        self.octaves += other.octaves


def no_sums(layout: Layout) -> PartSums:
    """Of nothing yet."""
    return PartSums(np.zeros((layout.units, FIELDS)), _no_columns(layout))


def _no_columns(layout: Layout) -> Floats | None:
    return np.zeros((layout.row, FIELDS + 2)) if layout.columns else None


def shared_rows(reference: Tensor, device: Tensor, layout: Layout) -> tuple[Tensor, Tensor] | None:
    """The mean rows of both sides over up to 64 rows, spread evenly; None where rows share little, or
    where a row alone is too long to hold."""
    lead = reference.shape[: -2 if layout.row != reference.shape[-1] else -1]
    rows = math.prod(lead)
    if rows < 2 or not 1 < layout.row <= _SAMPLED_ELEMENTS:
        return None
    import torch

    count = min(rows, _SAMPLED, max(4, _SAMPLED_ELEMENTS // layout.row))
    numbers = torch.linspace(0, rows - 1, count, dtype=torch.float64).long()
    # Not torch's own: it imports sympy, a second of a process's start.
    at = tuple(map(torch.from_numpy, np.unravel_index(numbers.numpy(), lead)))
    ours, theirs = (side[at].reshape(len(numbers), -1).double() for side in (reference, device))
    there = ours.isfinite() & theirs.isfinite()
    present = there.sum(0).clamp(min=1)
    means = [side.where(there, 0.0).sum(0) / present for side in (ours, theirs)]
    own = (ours - means[0]).where(there, 0.0)
    if not own.square().sum() < 0.5 * ours.where(there, 0.0).square().sum():
        return None
    return means[0], means[1]


def sums_of_block(offset: int, elements: int, layout: Layout) -> PartSums:
    """Of nothing yet: room for what a block has of units."""
    first, last = offset // layout.unit, (offset + elements - 1) // layout.unit
    return PartSums(np.zeros((last - first + 1, FIELDS)), _no_columns(layout), first=first)


def block_sums(
    reference: Tensor, device: Tensor, finite: Flags, offset: int, layout: Layout
) -> PartSums:
    """The sums of one block: two 1-D fp64 tensors whose first element is number `offset`, where both
    are `finite`."""
    import torch

    there = torch.from_numpy(finite)
    r, e = reference, device - reference
    if not finite.all():
        r, e = r.where(there, 0.0), e.where(there, 0.0)
    fields = [there.double(), r, e, r * r, e * e, r * e, r.abs(), e.abs()]
    if layout.shared is not None:
        ours, theirs = (_tiled(side, offset, len(r)) for side in layout.shared)
        own = (r - ours).where(there, 0.0)
        error = (e - (theirs - ours)).where(there, 0.0)
        fields += [own * own, error * error, own * error]
    found, peaks = sums_of_block(offset, len(r), layout), ((MAX_R, fields[6]), (MAX_E, fields[7]))
    if found.columns is not None:
        whole = [(r != r.round()).double(), (device.where(there, 0.0).round() != r).double()]
        of_columns = [
            *enumerate(fields[: ABS_E + 1]),
            *zip((FRACTIONAL, CHANGED), whole, strict=True),
        ]
        for name, values in of_columns:
            found.columns[:, name] = values.view(-1, layout.row).sum(0).numpy()
        for name, values in peaks:
            found.columns[:, name] = values.view(-1, layout.row).amax(0).numpy()
    for begin, end, number in _pieces(offset, len(r), layout.unit):
        shape = (-1, min(layout.unit, end - begin))
        at = number - found.first
        sums = found.units[at : at + (end - begin) // shape[1]]
        for name, values in enumerate(fields):
            sums[:, name] = values[begin:end].view(shape).sum(1).numpy()
        for name, values in peaks:
            sums[:, name] = values[begin:end].view(shape).amax(1).numpy()
        if shape[1] < LONG:
            continue
        rows, errors = (side[begin:end].view(shape).numpy() for side in (r, e))
        mixed = _mixed(rows, sums)
        if mixed.any():
            add_octaves(found.octaves, rows[mixed], errors[mixed])
    return found


def _mixed(rows: Floats, sums: Floats) -> Flags:
    """Which rows have many values far below the rest; a zero is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        limit = QUIET * np.sqrt(sums[:, RR] / np.maximum(sums[:, COUNT], 1))
    quiet = (np.abs(rows) < limit[:, None]) & (rows != 0)
    return np.asarray(np.count_nonzero(quiet, axis=1) >= np.maximum(QUIET_SHARE * rows.shape[1], 1))


def add_octaves(octaves: Floats, r: Floats, e: Floats) -> None:
    """Add rows [rows, elements] to the octaves; where a row's value is 0 it has none."""
    size = np.abs(r)
    there = size > 0
    count = there.sum(1, keepdims=True)
    # Squares that leave fp64 are of a walk whose sums are not used.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean_square = (r * r).sum(1, keepdims=True) / np.maximum(count, 1)
        octave = np.frexp(size / np.sqrt(mean_square))[1] - 1
        there &= octave >= LOWEST
        number = np.minimum(octave - LOWEST, OCTAVES - 1)[there].astype(np.int64)
        whole = np.broadcast_to(size.max(1, keepdims=True), r.shape)
        values = (np.ones_like(r), r * r, e * e, r * e, whole * whole)
        for name, value in enumerate(values):
            octaves[:, name] += np.bincount(number, value[there], OCTAVES)


def _pieces(offset: int, length: int, unit: int) -> list[tuple[int, int, int]]:
    """(begin, end, number of the first unit) of what a block has of units: the end of one, whole ones,
    the beginning of one; each piece is of equal rows."""
    pieces = []
    begin = 0
    while begin < length:
        ahead = unit - (offset + begin) % unit
        whole = (length - begin) // unit * unit if ahead == unit else 0
        end = begin + (whole or min(ahead, length - begin))
        pieces.append((begin, end, (offset + begin) // unit))
        begin = end
    return pieces


def _tiled(row: Tensor, offset: int, length: int) -> Tensor:
    """`length` elements of a row that is repeated, from element `offset` on."""
    turned = row.roll(-(offset % len(row)))
    return turned.repeat(-(-length // len(row)))[:length]
