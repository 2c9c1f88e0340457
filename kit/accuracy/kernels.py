"""Loops over two arrays, compiled by numba.

Each is kept apart from the others over a piece that stays in the first-level cache: so LLVM vectorises
every one of them, and none of the one large loop that they would make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from kit.accuracy.totals import BIG, CLOSE, SHARES, SUMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32] | NDArray[np.float64]
    Double = NDArray[np.float64]

_PIECE = 4096  # elements: three arrays of it stay in a first-level cache of 48 KiB
_LOOK = 128  # elements: how many a vectorised look decides to pass over
_exact = njit(error_model="numpy", nogil=True, cache=True)
# Sums may be reordered; NaN and infinity keep their meaning.
_summed = njit(error_model="numpy", nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
# For loops whose results are thrown away where the sums have shown that a value is not finite. Products
# and sums are not contracted: a limit must count the same elements everywhere.
_finite = njit(error_model="numpy", nogil=True, cache=True, fastmath={"reassoc", "nsz", "nnan"})
_SHARE_1, _SHARE_2, _SHARE_3 = SHARES
(_ATOL_1, _RTOL_1), (_ATOL_2, _RTOL_2), (_ATOL_3, _RTOL_3) = CLOSE
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
            at = start + _largest_at(error)
            ends[0] = error[at - start]
        _extend(r, ends[1:3])
        _extend(d, ends[3:5])
    return at


@_exact
def _largest_at(error: Double) -> int:
    at = 0
    for i in range(error.size):
        if error[i] > error[at]:
            at = i
    return at


@_exact
def _extend(values: Array, ends: Double) -> None:
    if _any_beyond(values, ends[0], ends[1]):
        for i in range(values.size):
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
def top(rows: Array, indices: NDArray[np.int64]) -> None:
    """Fill `indices` [rows, k] with the largest of each row, in order; ties by the lower index."""
    for row in range(len(rows)):
        _top_of_row(rows[row], indices[row])


@_exact
def _top_of_row(row: Array, indices: NDArray[np.int64]) -> None:
    k, filled = indices.size, 0
    for start in range(0, row.size, _LOOK):
        stop = min(start + _LOOK, row.size)
        # After the beginning of a row hardly any piece holds a candidate.
        if filled == k and not _any_beyond(row[start:stop], -np.inf, row[indices[k - 1]]):
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
def below_largest(rows: Array, top1: NDArray[np.int64], below: Double) -> None:
    """Fill `below` with the rows less their largest values, which are at `top1`."""
    for row in range(rows.shape[0]):
        values, out = rows[row], below[row]
        largest = np.float64(values[top1[row]])
        for i in range(values.size):
            out[i] = np.float64(values[i]) - largest


@_exact
def softmax_difference(reference: Double, device: Double, largest: float) -> float:
    """The largest difference of two probabilities, at least `largest`; rows are exponentials."""
    for row in range(reference.shape[0]):
        r, d = reference[row], device[row]
        scale_r, scale_d = 1.0 / _sum(r), 1.0 / _sum(d)
        for start in range(0, r.size, _LOOK):
            stop = min(start + _LOOK, r.size)
            if _any_apart(r[start:stop], d[start:stop], scale_r, scale_d, largest):
                for i in range(start, stop):
                    largest = max(largest, abs(d[i] * scale_d - r[i] * scale_r))
    return largest


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
