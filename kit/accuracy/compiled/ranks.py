"""Rows of classes: the largest of each, and the softmax's probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.compiled.loops import PIECE, index_of, scratch, shift
from kit.accuracy.compiled.options import (
    add_to_exponent,
    exact,
    finite,
    fused,
    kept,
    larger,
    sums_of_fused,
)
from kit.accuracy.compiled.units import add_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.accuracy.compiled.options import Array, Double

_GROUP = (
    1 << 15
)  # elements of rows that are read a second time while the second-level cache has them
_LOOK = 128  # elements: how many a vectorised look decides to pass over
_SHORT = 128  # classes: the largest of fewer are found one after another
_NEAR = 2.0**-5
_LEAST = -700.0  # a probability below e^-700 is none
_LOG2_E, _LN2 = math.log2(math.e), math.log(2.0)
_ROUNDED = (
    1.0 + 1e-9
)  # times a bound: it holds of rounded figures, and which rows come first is all one
# Added to a number below 2^51 and taken away again, it rounds it to an integer.
_ROUNDS = 1.5 * 2.0**52
_C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (
    1.0 / math.factorial(n) for n in range(3, 13)
)


@kept
def add_rows(
    reference: Array,
    device: Array,
    sums: Double,
    ends: Double,
    unit: int,
    begun: int,
    units: Double,
    octaves: Double,
    top: NDArray[np.int64],
    scores: Double,
    errors: Double,
    apart: float,
) -> tuple[int, float]:
    """As units.add_units for whole rows of classes, which are read again while the cache holds them.

    Fills `top` [2, rows, k] with the largest of each row of both sides, in order, ties by the lower
    index, `scores` [rows, 3] with both sides' first and the reference's second, and `errors` [rows] with
    the standard deviation of each row's error. Returns the index of the largest difference, and the
    largest difference of two softmax probabilities.
    """
    at, rows = 0, errors.size
    classes = reference.size // rows
    together = max(1, _GROUP // classes)
    pieces = scratch()
    bounds, rest = np.empty(((classes - 1) // PIECE + 1, 2)), np.empty_like(reference[:_SHORT])
    for first in range(0, rows, together):
        last = min(first + together, rows)
        start, stop = first * classes, last * classes
        number, before = (begun + start) // unit, ends[0]
        found = add_units(
            reference[start:stop],
            device[start:stop],
            sums,
            ends,
            unit,
            (begun + start) % unit,
            units[number : (begun + stop - 1) // unit + 1],
            octaves,
        )
        at = start + found if ends[0] > before else at
        for row in range(first, last):
            r = reference[row * classes : (row + 1) * classes]
            d = device[row * classes : (row + 1) * classes]
            if classes <= _SHORT:
                _top_of_short(r, rest[:classes], top[0, row])
                _top_of_short(d, rest[:classes], top[1, row])
            else:
                _top_of_row(r, top[0, row])
                _top_of_row(d, top[1, row])
            scores[row, 0], scores[row, 1] = r[top[0, row, 0]], d[top[1, row, 0]]
            if classes > 1:
                scores[row, 2] = r[top[0, row, 1]]
            most = np.float64(r[top[0, row, 0]]), np.float64(d[top[1, row, 0]])
            errors[row], apart = _compare_softmax(r, d, most, apart, bounds, pieces)
    return at, apart


@exact
def _top_of_short(row: Array, rest: Array, indices: NDArray[np.int64]) -> None:
    """As _top_of_row, for rows in which there is hardly a piece to pass over; `rest` is scratch memory."""
    for i in range(row.size):
        rest[i] = row[i]
    for k in range(indices.size):
        indices[k] = index_of(rest, _largest(rest))
        rest[indices[k]] = -np.inf


@finite
def _largest(values: Array) -> float:
    largest = values[0]
    for i in range(values.size):
        largest = larger(largest, values[i])
    return float(largest)


@exact
def _top_of_row(row: Array, indices: NDArray[np.int64]) -> None:
    k, least = indices.size, row[0]
    for start in range(0, row.size, _LOOK):
        stop = min(start + _LOOK, row.size)
        # After the beginning of a row hardly any piece holds a candidate.
        if start >= k and _largest(row[start:stop]) <= least:
            continue
        for i in range(start, stop):
            if i >= k and row[i] <= least:
                continue
            place = min(i, k - 1)
            while place > 0 and row[indices[place - 1]] < row[i]:
                indices[place] = indices[place - 1]
                place -= 1
            indices[place] = i
            if i >= k - 1:
                least = row[indices[k - 1]]


@exact
def _compare_softmax(
    reference: Array,
    device: Array,
    most: tuple[float, float],
    apart: float,
    bounds: Double,
    pieces: Double,
) -> tuple[float, float]:
    """The standard deviation of a row's error, and the largest difference of two probabilities, at
    least `apart`; `most` are the largest values of either side, `bounds` [pieces, 2] is scratch memory.

    With o and t the powers of both sides, O and T their sums: |t/T - o/O| = |(t - o)/T - o (1/O - 1/T)|.
    So the largest o and |t - o| of a piece say whether it can hold a larger difference than is known:
    hardly any can, and is gone through again.
    """
    total = change = error = square = 0.0
    for number in range(len(bounds)):
        ours, theirs = _exponents(reference, device, most, number, pieces)
        found = _powers_near(ours, theirs)
        if found[6] > _NEAR:
            found = _powers(ours, theirs)
        total, change = total + found[0], change + found[1]
        error, square = error + found[2], square + found[3]
        bounds[number, 0], bounds[number, 1] = found[4], found[5]
    scale_r, scale_d = 1.0 / total, 1.0 / (total + change)
    for number in range(len(bounds)):
        bound = bounds[number, 0] * abs(scale_r - scale_d) + bounds[number, 1] * scale_d
        if bound * _ROUNDED > apart:
            ours, theirs = _exponents(reference, device, most, number, pieces)
            apart = max(apart, _apart(ours, theirs, scale_r, scale_d))
    mean = error / reference.size
    return math.sqrt(max(square / reference.size - mean * mean, 0.0)), apart


@exact
def _exponents(
    reference: Array, device: Array, most: tuple[float, float], number: int, pieces: Double
) -> tuple[Double, Double]:
    """Piece `number` of both sides, less their largest values."""
    start, stop = number * PIECE, min((number + 1) * PIECE, reference.size)
    ours, theirs = pieces[0, : stop - start], pieces[1, : stop - start]
    shift(reference[start:stop], most[0], ours)
    shift(device[start:stop], most[1], theirs)
    return ours, theirs


@sums_of_fused
def _powers(ours: Double, theirs: Double) -> tuple[float, float, float, float, float, float, float]:
    """Of o = exp(ours), t = exp(theirs), x = theirs - ours: the sums of o, t - o, x and x^2, the largest
    of o, |t - o| and |x|."""
    total = change = error = square = most = most_change = far = 0.0
    for i in range(ours.size):
        x = theirs[i] - ours[i]
        o = _exp(ours[i])
        c = _exp(theirs[i]) - o
        total += o
        change += c
        error += x
        square += x * x
        most = larger(most, o)
        most_change = larger(most_change, abs(c))
        far = larger(far, abs(x))
    return total, change, error, square, most, most_change, far


@sums_of_fused
def _powers_near(
    ours: Double, theirs: Double
) -> tuple[float, float, float, float, float, float, float]:
    """The same in half the time; true where the last, the largest |x|, is at most _NEAR."""
    total = change = error = square = most = most_change = far = 0.0
    for i in range(ours.size):
        x = theirs[i] - ours[i]
        o = _exp(ours[i])
        c = o * _exp_less_1(x)
        total += o
        change += c
        error += x
        square += x * x
        most = larger(most, o)
        most_change = larger(most_change, abs(c))
        far = larger(far, abs(x))
    return total, change, error, square, most, most_change, far


@sums_of_fused
def _apart(ours: Double, theirs: Double, scale_r: float, scale_d: float) -> float:
    apart = 0.0
    for i in range(ours.size):
        apart = larger(apart, abs(_exp(theirs[i]) * scale_d - _exp(ours[i]) * scale_r))
    return apart


@fused
def _exp(x: float) -> float:
    """exp(x) of a number not above 0, to about 1 ulp of 1: numba's own is not vectorised.

    2^k times the Taylor series of the rest, within ln(2)/2 of 0, whose 13th term is below 2^-52. In
    pairs, not in a chain: the processor works on several of them at once.
    """
    x = larger(x, _LEAST)
    power = x * _LOG2_E + _ROUNDS  # its lowest bits are k
    x = x - (power - _ROUNDS) * _LN2
    x2 = x * x
    x4 = x2 * x2
    low = (_C3 * x + 0.5) * x2 + (x + 1.0)
    middle = (_C7 * x + _C6) * x2 + (_C5 * x + _C4)
    high = (_C11 * x + _C10) * x2 + (_C9 * x + _C8)
    return add_to_exponent(((_C12 * x4 + high) * x4 + middle) * x4 + low, power)


@fused
def _exp_less_1(x: float) -> float:
    """exp(x) - 1 within _NEAR of 0, where the series' 8th term is below 2^-50 of the first."""
    x2 = x * x
    return ((_C7 * x + _C6) * x2 + (_C5 * x + _C4)) * (x2 * x2) + ((_C3 * x + 0.5) * x2 + x)
