"""The loops over a piece of two arrays that stays in the first-level cache, in fp64.

Each is kept apart from the others: so LLVM vectorises every one of them, and none of the one large loop
that they would make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.compiled.options import exact, finite, larger, smaller, summed
from kit.accuracy.totals import BIG, CLOSE, SHARES, SUMS

if TYPE_CHECKING:
    from kit.accuracy.compiled.options import Array, Double

PIECE = 1024  # elements: three arrays of it stay in a first-level cache of 32 KiB
# The places in SUMS of what these loops sum.
OWN = 8  # the first so many are sums of a unit, too
FIRST_CLOSE, FINITE = SUMS.index("finite") - len(CLOSE), SUMS.index("finite")
assert SUMS[OWN] == "relative"
_SHARE_1, _SHARE_2, _SHARE_3 = SHARES


@exact
def scratch() -> Double:
    """Memory for three pieces."""
    return np.empty((3, PIECE))


@exact
def add_block(
    reference: Array, device: Array, own: Double, sums: Double, ends: Double, pieces: Double
) -> int:
    """Add what two 1-D arrays of one dtype give to `own` (the first OWN of totals.SUMS), to `sums` (the
    others, up to "finite") and to `ends` (totals.ENDS); `pieces` is scratch().

    Returns the index of the largest difference. Where a square in `own` is not finite afterwards,
    nothing of this holds.
    """
    at = 0
    for start in range(0, reference.size, PIECE):
        stop = min(start + PIECE, reference.size)
        r, d, error = (
            pieces[0, : stop - start],
            pieces[1, : stop - start],
            pieces[2, : stop - start],
        )
        shift(reference[start:stop], 0.0, r)
        shift(device[start:stop], 0.0, d)
        _add_sums(r, d, error, own)
        _add_relative(r, error, sums)
        largest = _largest(error)
        _add_close(r, error, largest, sums)
        if largest > ends[0]:
            ends[0], at = largest, start + index_of(error, largest)
        _extend(r, ends[1:3])
        _extend(d, ends[3:5])
    return at


@exact
def shift(values: Array, by: float, shifted: Double) -> None:
    """Fill `shifted` with values - by, in fp64."""
    for i in range(values.size):
        shifted[i] = np.float64(values[i]) - by


@summed
def _add_sums(reference: Double, device: Double, error: Double, own: Double) -> None:
    abs_diff = square_diff = square_reference = square_device = product = 0.0
    sum_reference = sum_device = abs_reference = 0.0
    for i in range(reference.size):
        r, d = reference[i], device[i]
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
    own[0] += abs_diff
    own[1] += square_diff
    own[2] += square_reference
    own[3] += square_device
    own[4] += product
    own[5] += sum_reference
    own[6] += sum_device
    own[7] += abs_reference


@finite
def _add_relative(reference: Double, error: Double, sums: Double) -> None:
    relative = relative_big = 0.0
    count = count_big = within_1 = within_2 = within_3 = 0
    for i in range(reference.size):
        e, size = error[i], abs(reference[i])
        quotient = e / size if size > 0.0 else 0.0
        relative += quotient
        count += size > 0.0
        relative_big += quotient if size > BIG else 0.0
        count_big += size > BIG
        within_1 += e <= _SHARE_1 * size
        within_2 += e <= _SHARE_2 * size
        within_3 += e <= _SHARE_3 * size
    sums[8] += relative
    sums[9] += count
    sums[10] += relative_big
    sums[11] += count_big
    sums[12] += within_1
    sums[13] += within_2
    sums[14] += within_3


@exact
def _add_close(reference: Double, error: Double, largest: float, sums: Double) -> None:
    """Whether all are close is asked, not how many: past the first that is not, none is looked at."""
    for number in range(len(CLOSE)):
        at = FIRST_CLOSE + number
        if sums[at] < sums[FINITE]:
            continue
        atol, rtol = CLOSE[number]
        sums[at] += error.size if largest <= atol else _close(reference, error, atol, rtol)
    sums[FINITE] += error.size


@finite
def _close(reference: Double, error: Double, atol: float, rtol: float) -> int:
    close = 0
    for i in range(reference.size):
        close += error[i] <= atol + rtol * abs(reference[i])
    return close


@finite
def _largest(error: Double) -> float:
    largest = 0.0
    for i in range(error.size):
        largest = larger(largest, error[i])
    return largest


@exact
def index_of(values: Array, value: float) -> int:
    """Of the first that is `value`; 0 where none is."""
    for i in range(values.size):
        if values[i] == value:
            return i
    return 0


@finite
def _extend(values: Double, ends: Double) -> None:
    least, most = ends[0], ends[1]
    for i in range(values.size):
        least = smaller(least, values[i])
        most = larger(most, values[i])
    ends[0], ends[1] = least, most
