"""The sums of parts: units, octaves, columns, and what is left beside a shared row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.compiled.loops import OWN, add_block, scratch
from kit.accuracy.compiled.options import exact, finite, fused, kept, larger, summed
from kit.accuracy.part_sums import (
    ABS_E,
    ABS_R,
    CHANGED,
    COUNT,
    EE,
    FRACTIONAL,
    LONG,
    LOWEST,
    MAX_E,
    MAX_R,
    OCTAVES,
    QUIET,
    QUIET_SHARE,
    RE,
    RR,
    SHARED_EE,
    SHARED_RE,
    SHARED_RR,
    E,
    R,
)
from kit.accuracy.totals import NO_ENDS

if TYPE_CHECKING:
    from kit.accuracy.compiled.options import Array, Double

_SHORT = 256  # elements: a unit below has a loop of its own


@kept
def add_units(
    reference: Array,
    device: Array,
    sums: Double,
    ends: Double,
    unit: int,
    begun: int,
    units: Double,
    octaves: Double,
) -> int:
    """As loops.add_block, and the sums of each unit (part_sums): `begun` elements of the first are in
    an earlier block. `units` [units, FIELDS] and `octaves` are added to."""
    pieces = scratch()
    if unit < _SHORT:
        at = add_block(reference, device, sums, sums, ends, pieces)
        for number in range(len(units)):
            piece = slice(max(number * unit - begun, 0), (number + 1) * unit - begun)
            _add_short(reference[piece], device[piece], units[number], octaves)
        return at
    at, own, own_ends = 0, np.empty(OWN), np.empty(ends.size)
    # Sums of arrays are written as loops: numba takes seconds to compile the other way.
    for number in range(len(units)):
        start = max(number * unit - begun, 0)
        piece = slice(start, (number + 1) * unit - begun)
        for i in range(OWN):
            own[i] = 0.0
        for i in range(ends.size):
            own_ends[i] = NO_ENDS[i]
        found = add_block(reference[piece], device[piece], own, sums, own_ends, pieces)
        at = start + found if own_ends[0] > ends[0] else at
        for i in range(OWN):
            sums[i] += own[i]
        _add_ends(own_ends, ends)
        _add_long(reference[piece], device[piece], own, own_ends, units[number], octaves)
    return at


@exact
def _add_ends(own: Double, ends: Double) -> None:
    ends[0] = max(ends[0], own[0])
    ends[1], ends[2] = min(ends[1], own[1]), max(ends[2], own[2])
    ends[3], ends[4] = min(ends[3], own[3]), max(ends[4], own[4])


@exact
def _add_long(r: Array, d: Array, own: Double, ends: Double, unit: Double, octaves: Double) -> None:
    """A unit of which loops.add_block has the sums."""
    unit[COUNT] += r.size
    unit[R] += own[5]
    unit[E] += own[6] - own[5]
    unit[RR] += own[2]
    unit[EE] += own[1]
    unit[RE] += own[4] - own[2]
    unit[ABS_R] += own[7]
    unit[ABS_E] += own[0]
    unit[MAX_R] = max(unit[MAX_R], abs(ends[1]), abs(ends[2]))
    unit[MAX_E] = max(unit[MAX_E], ends[0])
    if _is_mixed(r, own[2]):
        _add_octaves(r, d, own[2], octaves)


@exact
def _add_short(r: Array, d: Array, unit: Double, octaves: Double) -> None:
    """A unit of so few elements that the loops' own beginnings would cost more than the sums."""
    total = error = square = square_error = product = abs_error = size = most = far = 0.0
    for i in range(r.size):
        ours = np.float64(r[i])
        e = np.float64(d[i]) - ours
        total += ours
        error += e
        square += ours * ours
        square_error += e * e
        product += ours * e
        abs_error += abs(e)
        size += abs(ours)
        most, far = larger(most, abs(ours)), larger(far, abs(e))
    unit[COUNT] += r.size
    unit[R] += total
    unit[E] += error
    unit[RR] += square
    unit[EE] += square_error
    unit[RE] += product
    unit[ABS_R] += size
    unit[ABS_E] += abs_error
    unit[MAX_R] = max(unit[MAX_R], most)
    unit[MAX_E] = max(unit[MAX_E], far)
    if _is_mixed(r, square):
        _add_octaves(r, d, square, octaves)


@finite
def _is_mixed(r: Array, square: float) -> bool:
    """part_sums._mixed of one row, the sum of whose squares is `square`."""
    if r.size < LONG:
        return False
    one, none = r.dtype.type(1), r.dtype.type(0)
    limit = r.dtype.type(QUIET * math.sqrt(square / r.size))
    quiet = none
    for i in range(r.size):
        quiet += one if r[i] < limit and r[i] > -limit and r[i] != none else none
    return bool(quiet >= max(QUIET_SHARE * r.size, 1.0))


@exact
def _add_octaves(r: Array, d: Array, square: float, octaves: Double) -> None:
    """part_sums.add_octaves of one row, the sum of whose squares is `square`."""
    count, largest = 0, 0.0
    for i in range(r.size):
        size = abs(np.float64(r[i]))
        count += 1 if size > 0.0 else 0
        largest = max(largest, size)
    rms = math.sqrt(square / count)
    for i in range(r.size):
        ours = np.float64(r[i])
        if ours == 0.0:
            continue
        e = np.float64(d[i]) - ours
        number = math.frexp(abs(ours) / rms)[1] - 1 - LOWEST
        if number < 0:
            continue
        octave = octaves[min(number, OCTAVES - 1)]
        octave[0] += 1.0
        octave[1] += ours * ours
        octave[2] += e * e
        octave[3] += ours * e
        octave[4] += largest * largest


@kept
def add_shared(
    reference: Array,
    device: Array,
    ours: Double,
    theirs: Double,
    offset: int,
    unit: int,
    units: Double,
) -> None:
    """Add to `units` what their elements are without both sides' mean rows `ours` and `theirs`;
    the first element is number `offset` of the tensor."""
    row, at, first = ours.size, 0, offset // unit
    while at < reference.size:
        begin, number = (offset + at) % row, (offset + at) // unit - first
        # No row goes beyond its unit.
        size = min(row - begin, reference.size - at)
        piece, of_row = slice(at, at + size), slice(begin, begin + size)
        _add_shared_piece(
            reference[piece], device[piece], ours[of_row], theirs[of_row], units[number]
        )
        at += size


@summed
def _add_shared_piece(r: Array, d: Array, ours: Double, theirs: Double, unit: Double) -> None:
    square = square_error = product = 0.0
    for i in range(r.size):
        own = np.float64(r[i]) - ours[i]
        e = (np.float64(d[i]) - theirs[i]) - own
        square += own * own
        square_error += e * e
        product += own * e
    unit[SHARED_RR] += square
    unit[SHARED_EE] += square_error
    unit[SHARED_RE] += product


@kept
def add_columns(reference: Array, device: Array, columns: Double, table: bool) -> None:
    """Add whole rows to the sums of the columns, [FIELDS + 2, columns]; the last two of a table only."""
    row = columns.shape[1]
    for start in range(0, reference.size, row):
        r, d = reference[start : start + row], device[start : start + row]
        _add_row_to_columns(r, d, columns)
        if table:
            _add_whole_to_columns(r, d, columns)


@fused
def _add_row_to_columns(r: Array, d: Array, columns: Double) -> None:
    for i in range(r.size):
        ours, theirs = np.float64(r[i]), np.float64(d[i])
        e = theirs - ours
        columns[COUNT, i] += 1.0
        columns[R, i] += ours
        columns[E, i] += e
        columns[RR, i] += ours * ours
        columns[EE, i] += e * e
        columns[RE, i] += ours * e
        columns[ABS_R, i] += abs(ours)
        columns[ABS_E, i] += abs(e)
        columns[MAX_R, i] = larger(columns[MAX_R, i], abs(ours))
        columns[MAX_E, i] = larger(columns[MAX_E, i], abs(e))


@fused
def _add_whole_to_columns(r: Array, d: Array, columns: Double) -> None:
    for i in range(r.size):
        ours, theirs = np.float64(r[i]), np.float64(d[i])
        columns[FRACTIONAL, i] += 1.0 if np.rint(ours) != ours else 0.0
        columns[CHANGED, i] += 1.0 if np.rint(theirs) != ours else 0.0
