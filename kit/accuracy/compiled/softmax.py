"""How far apart the softmax of two rows is.

All but a few rows are only bounded, in fp32, which takes a quarter of the time: where a bound is not above
the largest difference that is known, nothing in the row matters. What is reported comes from fp64.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.accuracy.compiled.loops import PIECE, shift
from kit.accuracy.compiled.options import (
    add_to_exponent,
    exact,
    fused,
    larger,
    sums_of_fused,
)

if TYPE_CHECKING:
    from kit.accuracy.compiled.options import Array, Double

_fp32: Any = np.float32  # to the type checker, its numbers are no float
_NEAR = _fp32(2.0**-5)
# What fp32 may change of a bound: this share of the largest difference of two logits, and of the offset.
_OF_FAR, _OF_OFFSET = 2.0**-10, 2.0**-21
_LOG2_E, _LN2 = math.log2(math.e), math.log(2.0)
_LEAST = -700.0  # a probability below e^-700 is none
# Added to a number below 2^51 and taken away again, it rounds it to an integer.
_ROUNDS = 1.5 * 2.0**52
_C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (
    1.0 / math.factorial(n) for n in range(3, 13)
)
# The same for fp32.
_LOG2_E_32, _LN2_32 = _fp32(_LOG2_E), _fp32(_LN2)
_LEAST_32, _ROUNDS_32 = _fp32(-80.0), _fp32(1.5 * 2.0**23)
_ONE_32, _HALF_32 = _fp32(1.0), _fp32(0.5)
_C3_32, _C4_32, _C5_32 = _fp32(_C3), _fp32(_C4), _fp32(_C5)


@exact
def apart_beyond(
    reference: Array,
    device: Array,
    most: tuple[float, float],
    apart: float,
    bounds: Double,
    pieces: Double,
) -> float:
    """The largest difference of two probabilities of a row, or `apart` where that is larger; `most` are
    the largest values of either side, `bounds` [pieces, 2] and `pieces` (loops.scratch) scratch memory.

    With o and t the powers of both sides, O and T their sums: |t/T - o/O| = |(t - o)/T - o (1/O - 1/T)|.
    So the largest o and |t - o| of a piece say whether it can hold a larger difference than is known:
    hardly any can, and is gone through again.
    """
    total, change, fuzz = _bounds(reference, device, most, bounds)
    relative = abs(change) / total + fuzz
    beyond = False
    for number in range(len(bounds)):
        bounds[number, 0] = (bounds[number, 1] + bounds[number, 0] * relative) / (total + change)
        # 1.001: both sums are rounded, too. A NaN is of a row whose figures are not used.
        beyond = beyond or 1.001 * bounds[number, 0] > apart
    if not beyond:
        return apart
    total = other = 0.0
    for number in range(len(bounds)):
        found = _sums(*_exponents(reference, device, most, number, pieces))
        total, other = total + found[0], other + found[1]
    for number in range(len(bounds)):
        if 1.001 * bounds[number, 0] > apart:
            ours, theirs = _exponents(reference, device, most, number, pieces)
            apart = max(apart, _apart(ours, theirs, 1.0 / total, 1.0 / other))
    return apart


@exact
def _bounds(
    reference: Array, device: Array, most: tuple[float, float], bounds: Double
) -> tuple[float, float, float]:
    """Fill `bounds` with the largest o and |t - o| of each piece; returns O, T - O, and what of an o
    fp32's rounding may be."""
    total = change = far = 0.0
    offset = most[1] - most[0]
    for number in range(len(bounds)):
        start, stop = number * PIECE, min((number + 1) * PIECE, reference.size)
        r, d = reference[start:stop], device[start:stop]
        found = _powers_near(r, d, most[0], offset)
        if found[4] > _NEAR:
            found = _powers(r, d, most[0], most[1], offset)
        total, change = total + np.float64(found[0]), change + np.float64(found[1])
        bounds[number, 0], bounds[number, 1] = found[2], found[3]
        far = max(far, np.float64(found[4]))
    return total, change, _OF_FAR * far + _OF_OFFSET * abs(np.float64(offset))


@sums_of_fused
def _powers_near(
    reference: Array, device: Array, most: float, offset: float
) -> tuple[float, float, float, float, float]:
    """Of o = exp(reference - most), x = device - reference - offset, t - o = o (exp(x) - 1) where |x| is
    at most _NEAR: the sums of o and t - o, the largest o, |t - o| and |x|. In fp32."""
    total = change = top = top_change = far = _fp32(0.0)
    for i in range(reference.size):
        x = _fp32((device[i] - reference[i]) - offset)
        o = _exp_32(_fp32(reference[i] - most))
        c = o * (x + _HALF_32 * x * x)
        total += o
        change += c
        top = larger(top, o)
        top_change = larger(top_change, abs(c))
        far = larger(far, abs(x))
    return total, change, top, top_change, far


@sums_of_fused
def _powers(
    reference: Array, device: Array, most: float, device_most: float, offset: float
) -> tuple[float, float, float, float, float]:
    """The same of any x, with t = exp(device - device_most)."""
    total = change = top = top_change = far = _fp32(0.0)
    for i in range(reference.size):
        o = _exp_32(_fp32(reference[i] - most))
        c = _exp_32(_fp32(device[i] - device_most)) - o
        total += o
        change += c
        top = larger(top, o)
        top_change = larger(top_change, abs(c))
        far = larger(far, abs(_fp32((device[i] - reference[i]) - offset)))
    return total, change, top, top_change, far


@exact
def _exponents(
    reference: Array, device: Array, most: tuple[float, float], number: int, pieces: Double
) -> tuple[Double, Double]:
    """Piece `number` of both sides, less their largest values, in fp64."""
    start, stop = number * PIECE, min((number + 1) * PIECE, reference.size)
    ours, theirs = pieces[0, : stop - start], pieces[1, : stop - start]
    shift(reference[start:stop], np.float64(most[0]), ours)
    shift(device[start:stop], np.float64(most[1]), theirs)
    return ours, theirs


@sums_of_fused
def _sums(ours: Double, theirs: Double) -> tuple[float, float]:
    total = other = 0.0
    for i in range(ours.size):
        total += _exp(ours[i])
        other += _exp(theirs[i])
    return total, other


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
def _exp_32(x: float) -> float:
    """The same in fp32, to about 1e-5 of the result; what is below e^-80 is e^-80."""
    x = larger(x, _LEAST_32)
    power = x * _LOG2_E_32 + _ROUNDS_32
    x = x - (power - _ROUNDS_32) * _LN2_32
    x2 = x * x
    low = (_C3_32 * x + _HALF_32) * x2 + (x + _ONE_32)
    return add_to_exponent((_C5_32 * x + _C4_32) * (x2 * x2) + low, power)
