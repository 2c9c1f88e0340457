"""Rows of classes: the largest of each, and how far apart their softmax is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.compiled.loops import PIECE, index_of, scratch
from kit.accuracy.compiled.options import exact, finite, kept, larger, summed
from kit.accuracy.compiled.softmax import apart_beyond
from kit.accuracy.compiled.units import add_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.accuracy.compiled.options import Array, Double

# Elements of rows that are read a second time while the second-level cache has them.
_GROUP = 1 << 15
_LOOK = 128  # elements: how many a vectorised look decides to pass over
_SHORT = 128  # classes: the largest of fewer are found one after another


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
            most = r[top[0, row, 0]], d[top[1, row, 0]]
            errors[row] = _error(r, d, np.float64(most[1]) - np.float64(most[0]))
            apart = apart_beyond(r, d, most, apart, bounds, pieces)
    return at, apart


@summed
def _error(reference: Array, device: Array, offset: float) -> float:
    """The standard deviation of a row's error, of which `offset` is about the mean."""
    total = square = 0.0
    for i in range(reference.size):
        e = (np.float64(device[i]) - np.float64(reference[i])) - offset
        total += e
        square += e * e
    mean = total / reference.size
    return math.sqrt(max(square / reference.size - mean * mean, 0.0))


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
