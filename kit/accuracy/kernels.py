"""Loops over two arrays, compiled by numba.

Each is kept apart from the others over a piece that stays in the first-level cache: so LLVM vectorises
every one of them, and none of the one large loop that they would make.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import config, njit
from numba.core.codegen import get_host_cpu_features

from kit.accuracy.part_sums import (
    ABS_E,
    ABS_R,
    CHANGED,
    COUNT,
    EE,
    FRACTIONAL,
    LONG,
    LOWEST,
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
from kit.accuracy.totals import BIG, CLOSE, SHARES, SUMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32] | NDArray[np.float64]
    Double = NDArray[np.float64]

_PIECE = 4096  # elements: three arrays of it stay in a first-level cache of 48 KiB
_SHORT = 256  # elements: a unit below has a loop of its own
_LOOK = 128  # elements: how many a vectorised look decides to pass over
# LLVM keeps to 256-bit vectors where a processor has wider ones, for the sake of programs that use them
# only here and there. These loops do little else, and take a third less time. Before the first
# compilation, and not where the user has set numba's own variable.
_features = get_host_cpu_features()
if getattr(config, "CPU_FEATURES", None) is None and "+avx512f" in _features:
    config.CPU_FEATURES = f"{_features},-prefer-256-bit"  # type: ignore[attr-defined]

_exact = njit(error_model="numpy", nogil=True, cache=True)
# Sums may be reordered; NaN and infinity keep their meaning.
_summed = njit(error_model="numpy", nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
# For loops whose results are thrown away where the sums have shown that a value is not finite. Products
# and sums are not contracted: a limit must count the same elements everywhere.
_finite = njit(error_model="numpy", nogil=True, cache=True, fastmath={"reassoc", "nsz", "nnan"})
# No sum, and nothing may be reordered: the rounding is what the steps say.
_fused = njit(error_model="numpy", nogil=True, cache=True, fastmath={"contract", "nnan"})
# Its one sum may be reordered: that of ones.
_near = njit(error_model="numpy", nogil=True, cache=True, fastmath={"contract", "nnan", "reassoc"})
_SHARE_1, _SHARE_2, _SHARE_3 = SHARES
(_ATOL_1, _RTOL_1), (_ATOL_2, _RTOL_2), (_ATOL_3, _RTOL_3) = CLOSE
_LOG2_E = math.log2(math.e)
# ln(2) in two parts; the first has 32 bits, so that k times it is exact.
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
# Added to a number below 2^51 and taken away again, it rounds it to an integer.
_ROUNDS = 1.5 * 2.0**52
_EXP_LEAST = np.float64(-700.0)  # a probability below e^-700 is none
_NEAR = 2.0**-5
_C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1.0 / math.factorial(n) for n in range(3, 14)
)
# The numbers below are places in SUMS.
assert SUMS.index("finite") == 18


@_exact
def add_block(reference: Array, device: Array, sums: Double, ends: Double) -> int:
    """Add to `sums` (totals.SUMS) and `ends` (totals.ENDS) what two 1-D arrays of one dtype give.

    Returns the index of the largest difference. Where a square in `sums` is not finite afterwards,
    nothing of this holds.
    """
    scratch = np.empty(_PIECE)
    at = 0
    for start in range(0, reference.size, _PIECE):
        stop = min(start + _PIECE, reference.size)
        r, d, error = reference[start:stop], device[start:stop], scratch[: stop - start]
        _add_sums(r, d, error, sums)
        _add_relative(r, error, sums)
        if _any_beyond(error, -1.0, ends[0]):
            at = start + _largest_at(error, ends)
        _extend(r, ends[1:3])
        _extend(d, ends[3:5])
    return at


@_exact
def _largest_at(error: Double, ends: Double) -> int:
    """The index of the largest of errors that exceed ends[0], which it becomes."""
    at = 0
    for start in range(0, error.size, _LOOK):
        stop = min(start + _LOOK, error.size)
        if _any_beyond(error[start:stop], -1.0, ends[0]):
            for i in range(start, stop):
                if error[i] > ends[0]:
                    ends[0], at = error[i], i
    return at


@_exact
def _extend(values: Array, ends: Double) -> None:
    if not _any_beyond(values, ends[0], ends[1]):
        return
    for start in range(0, values.size, _LOOK):
        stop = min(start + _LOOK, values.size)
        if _any_beyond(values[start:stop], ends[0], ends[1]):
            for i in range(start, stop):
                ends[0] = min(ends[0], np.float64(values[i]))
                ends[1] = max(ends[1], np.float64(values[i]))


@_finite
def _any_beyond(values: Array, least: float, most: float) -> bool:
    """Whether a value lies below `least` or above `most`, both of which the values' dtype holds.

    Counted, not searched: that is vectorised, which a maximum that respects NaN is not.
    """
    one, none = values.dtype.type(1), values.dtype.type(0)
    low, high, beyond = values.dtype.type(least), values.dtype.type(most), none
    for i in range(values.size):
        beyond += one if values[i] < low or values[i] > high else none
    return bool(beyond > none)


@_finite
def _any_above(values: Array, most: float) -> bool:
    one, none = values.dtype.type(1), values.dtype.type(0)
    high, above = values.dtype.type(most), none
    for i in range(values.size):
        above += one if values[i] > high else none
    return bool(above > none)


@_summed
def _add_sums(reference: Array, device: Array, error: Double, sums: Double) -> None:
    abs_diff = square_diff = square_reference = square_device = product = 0.0
    sum_reference = sum_device = abs_reference = 0.0
    for i in range(reference.size):
        r, d = np.float64(reference[i]), np.float64(device[i])
        e = d - r
        error[i] = abs(e)
        abs_diff += abs(e)
        square_diff += e * e
        square_reference += r * r
        square_device += d * d
        product += r * d
        sum_reference += r
        sum_device += d
        abs_reference += abs(r)
    sums[0] += abs_diff
    sums[1] += square_diff
    sums[2] += square_reference
    sums[3] += square_device
    sums[4] += product
    sums[5] += sum_reference
    sums[6] += sum_device
    sums[7] += abs_reference


@_finite
def _add_relative(reference: Array, error: Double, sums: Double) -> None:
    # Counted in fp64, like what is summed beside them: one width of vector for all.
    relative = count = relative_big = count_big = 0.0
    within_1 = within_2 = within_3 = close_1 = close_2 = close_3 = 0.0
    for i in range(reference.size):
        e, size = error[i], abs(np.float64(reference[i]))
        quotient = e / size if size > 0.0 else 0.0
        relative += quotient
        count += 1.0 if size > 0.0 else 0.0
        relative_big += quotient if size > BIG else 0.0
        count_big += 1.0 if size > BIG else 0.0
        within_1 += 1.0 if e <= _SHARE_1 * size else 0.0
        within_2 += 1.0 if e <= _SHARE_2 * size else 0.0
        within_3 += 1.0 if e <= _SHARE_3 * size else 0.0
        close_1 += 1.0 if e <= _ATOL_1 + _RTOL_1 * size else 0.0
        close_2 += 1.0 if e <= _ATOL_2 + _RTOL_2 * size else 0.0
        close_3 += 1.0 if e <= _ATOL_3 + _RTOL_3 * size else 0.0
    sums[8] += relative
    sums[9] += count
    sums[10] += relative_big
    sums[11] += count_big
    sums[12] += within_1
    sums[13] += within_2
    sums[14] += within_3
    sums[15] += close_1
    sums[16] += close_2
    sums[17] += close_3


@_exact
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
    """As add_block, and the sums of each unit (part_sums): `begun` elements of the first are in an
    earlier block. `units` [units, FIELDS] and `octaves` are added to."""
    if unit < _SHORT:
        at = add_block(reference, device, sums, ends)
        for number in range(len(units)):
            piece = slice(max(number * unit - begun, 0), (number + 1) * unit - begun)
            _add_short(reference[piece], device[piece], units[number], octaves)
        return at
    at, own = 0, np.empty(sums.size)
    for number in range(len(units)):
        start = max(number * unit - begun, 0)
        r, d = (
            reference[start : (number + 1) * unit - begun],
            device[start : (number + 1) * unit - begun],
        )
        before = ends[0]
        found = _add_unit(r, d, sums, ends, own, units[number], octaves)
        at = start + found if ends[0] > before else at
    return at


@_exact
def _add_unit(
    r: Array, d: Array, sums: Double, ends: Double, own: Double, unit: Double, octaves: Double
) -> int:
    own[:] = 0.0
    found = add_block(r, d, own, ends)
    sums += own
    unit[COUNT] += r.size
    unit[R] += own[5]
    unit[E] += own[6] - own[5]
    unit[RR] += own[2]
    unit[EE] += own[1]
    unit[RE] += own[4] - own[2]
    unit[ABS_R] += own[7]
    unit[ABS_E] += own[0]
    if _is_mixed(r, own[2]):
        _add_octaves(r, d, own[2], octaves)
    return found


@_exact
def _add_short(r: Array, d: Array, unit: Double, octaves: Double) -> None:
    """A unit of so few elements that the loops' own beginnings would cost more than the sums."""
    total = error = square = square_error = product = abs_error = size = 0.0
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
    unit[COUNT] += r.size
    unit[R] += total
    unit[E] += error
    unit[RR] += square
    unit[EE] += square_error
    unit[RE] += product
    unit[ABS_R] += size
    unit[ABS_E] += abs_error
    if _is_mixed(r, square):
        _add_octaves(r, d, square, octaves)


@_finite
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


@_exact
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


@_exact
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


@_summed
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


@_exact
def add_columns(reference: Array, device: Array, columns: Double) -> None:
    """Add whole rows to the sums of the columns, [FIELDS + 2, columns]."""
    row = columns.shape[1]
    for start in range(0, reference.size, row):
        _add_row_to_columns(reference[start : start + row], device[start : start + row], columns)


@_fused
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
        columns[FRACTIONAL, i] += 1.0 if np.rint(ours) != ours else 0.0
        columns[CHANGED, i] += 1.0 if np.rint(theirs) != ours else 0.0


@_exact
def add_rows(
    reference: Array,
    device: Array,
    sums: Double,
    ends: Double,
    top: NDArray[np.int64],
    powers: Double,
    errors: Double,
    rows_of_unit: int,
    begun: int,
    units: Double,
    octaves: Double,
) -> tuple[int, float]:
    """As add_units for rows [rows, classes], each read while the cache holds it.

    Fills `top` [2, rows, k] with the largest of each row of both sides, in order, ties by the lower
    index, and `errors` [rows] with the standard deviation of each row's error; `powers` [2, classes] is
    scratch; `begun` rows of the first unit are in an earlier block. Returns the flat index of the
    largest difference, and the largest difference of two softmax probabilities.
    """
    at, apart, own = 0, 0.0, np.empty(sums.size)
    for row in range(len(reference)):
        r, d, before = reference[row], device[row], ends[0]
        unit = units[(begun + row) // rows_of_unit]
        found = _add_unit(r, d, sums, ends, own, unit, octaves)
        at = row * r.size + found if ends[0] > before else at
        mean = (own[6] - own[5]) / r.size
        errors[row] = math.sqrt(max(own[1] / r.size - mean * mean, 0.0))
        _top_of_row(r, top[0, row])
        _top_of_row(d, top[1, row])
        most_r, most_d = np.float64(r[top[0, row, 0]]), np.float64(d[top[1, row, 0]])
        totals = _fill_powers(r, d, most_r, most_d, powers)
        apart = _softmax_difference(powers, totals, apart)
    return at, apart


@_exact
def _top_of_row(row: Array, indices: NDArray[np.int64]) -> None:
    k, filled = indices.size, 0
    for start in range(0, row.size, _LOOK):
        stop = min(start + _LOOK, row.size)
        # After the beginning of a row hardly any piece holds a candidate.
        if filled == k and not _any_above(row[start:stop], row[indices[k - 1]]):
            continue
        for i in range(start, stop):
            if filled == k and row[i] <= row[indices[k - 1]]:
                continue
            place = filled if filled < k else k - 1
            while place > 0 and row[indices[place - 1]] < row[i]:
                indices[place] = indices[place - 1]
                place -= 1
            indices[place] = i
            filled = min(filled + 1, k)


@_exact
def _fill_powers(
    reference: Array, device: Array, most_r: float, most_d: float, powers: Double
) -> tuple[float, float]:
    """exp(reference - most_r) and exp(device - most_d) of a row, whose largest values those are;
    returns their sums, each piece of which is taken while the first-level cache holds it."""
    total_r = total_d = 0.0
    for start in range(0, reference.size, _PIECE):
        at = slice(start, min(start + _PIECE, reference.size))
        r, d, ours, theirs = reference[at], device[at], powers[0, at], powers[1, at]
        _exp_below(r, most_r, ours)
        if not _exp_near(r, d, most_r, most_d, ours, theirs):
            _exp_below(d, most_d, theirs)
        total_r += _sum(ours)
        total_d += _sum(theirs)
    return total_r, total_d


@_exact
def _softmax_difference(powers: Double, totals: tuple[float, float], largest: float) -> float:
    """The largest difference of two probabilities, at least `largest`; a row's exponentials and their
    sums."""
    ours, theirs, scale_r, scale_d = powers[0], powers[1], 1.0 / totals[0], 1.0 / totals[1]
    for start in range(0, ours.size, _LOOK):
        stop = min(start + _LOOK, ours.size)
        if _any_apart(ours[start:stop], theirs[start:stop], scale_r, scale_d, largest):
            for i in range(start, stop):
                largest = max(largest, abs(theirs[i] * scale_d - ours[i] * scale_r))
    return largest


@_fused
def _exp_below(values: Array, most: float, powers: Double) -> None:
    """exp(values - most), of which none is above 0, to about 1 ulp: numba's exp is not vectorised.

    2^k times the Taylor series of the rest, within ln(2)/2 of 0, whose 14th term is below 2^-57.
    """
    bits = powers.view(np.int64)
    turns = np.empty(values.size)
    exponents = turns.view(np.int64)
    for i in range(values.size):
        x = np.float64(values[i]) - most
        x = x if x > _EXP_LEAST else _EXP_LEAST
        turns[i] = x * _LOG2_E + _ROUNDS  # its lowest bits are k, in two's complement
        k = turns[i] - _ROUNDS
        x = x - k * _LN2_HIGH - k * _LN2_LOW
        p = _C13
        p = p * x + _C12
        p = p * x + _C11
        p = p * x + _C10
        p = p * x + _C9
        p = p * x + _C8
        p = p * x + _C7
        p = p * x + _C6
        p = p * x + _C5
        p = p * x + _C4
        p = p * x + _C3
        p = p * x + 0.5
        powers[i] = (p * x + 1.0) * x + 1.0
    for i in range(values.size):
        bits[i] += exponents[i] << 52


@_near
def _exp_near(
    reference: Array, device: Array, most_r: float, most_d: float, ours: Double, theirs: Double
) -> bool:
    """exp(device - most_d) from `ours`, exp(reference - most_r), where the two exponents are so near
    that the Taylor series' 8th term is below 2^-55; returns whether they all are."""
    far = 0.0
    for i in range(ours.size):
        x = (np.float64(device[i]) - most_d) - (np.float64(reference[i]) - most_r)
        far += 1.0 if abs(x) > _NEAR else 0.0
        p = _C7
        p = p * x + _C6
        p = p * x + _C5
        p = p * x + _C4
        p = p * x + _C3
        p = p * x + 0.5
        theirs[i] = ours[i] + ours[i] * ((p * x + 1.0) * x)
    return bool(far == 0.0)


@_finite
def _sum(values: Double) -> float:
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@_finite
def _any_apart(
    reference: Double, device: Double, scale_r: float, scale_d: float, least: float
) -> bool:
    apart = 0.0
    for i in range(reference.size):
        apart += 1.0 if abs(device[i] * scale_d - reference[i] * scale_r) > least else 0.0
    return bool(apart > 0.0)
