"""Matrix products whose results show how they were computed.

Every factor is a power of two or 1 plus one, so that each product is exact and only rounding of the
operands, or a sum that was too narrow, can change a result. The sizes are multiples of 64: libraries take
other kernels, without the matrix unit, for odd ones.

The order of summation is read as FPRev does (Xie et al., "FPRev: Revealing the order of floating-point
summation", 2024): with M at one place, -M at another and ones elsewhere, M swallows every one that is added
before the two cancel; how many are left tells how soon the two places meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from kit.evidence.types.arithmetic import Order, Rounding, Subnormals

SIZE = 256
Product = Callable[[Tensor, Tensor], Tensor]
"""(SIZE, SIZE) by (SIZE, SIZE), of CPU tensors in the probed dtype, giving a CPU tensor."""
_FAR, _ONE, _LAST = SIZE - 3, SIZE - 2, SIZE - 1  # rows and columns apart from those of the values
_MODES: dict[Rounding, Callable[[float], float]] = {
    "nearest_even": lambda x: float(round(x)),  # Python's round() takes ties to even
    "nearest_away": lambda x: math.copysign(math.floor(abs(x) + 0.5), x),
    "towards_zero": lambda x: float(math.trunc(x)),
}


@dataclass(frozen=True)
class Operands:
    """What became of operands; the fields are ProductArithmetic's."""

    operand_bits: int | None
    rounding: Rounding
    wide_range: bool | None
    subnormal_operands: Subnormals
    subnormal_results: Subnormals


def explicit_bits(dtype: torch.dtype) -> int:
    """Mantissa bits of a dtype without the leading one: 23 of float32."""
    return round(-math.log2(torch.finfo(dtype).eps))


def read_operands(product: Product, dtype: torch.dtype) -> Operands:
    """How `product` takes its operands in."""
    bits = explicit_bits(dtype)
    kept = [1 + 2.0**-bit for bit in range(1, bits + 1)]
    ties = [value for bit in range(1, bits) for value in _around_a_tie(bit, bits)]
    values = [*kept, *ties]
    a, b = torch.zeros(SIZE, SIZE, dtype=dtype), torch.zeros(SIZE, SIZE, dtype=dtype)
    a[: len(values), 0] = b[1, : len(values)] = torch.tensor(values, dtype=dtype)
    b[0, _LAST] = a[_LAST, 1] = 1
    exponent = round(math.log2(torch.finfo(dtype).tiny))
    a[_ONE, 2], b[2, _ONE] = 2.0 ** (exponent - 2), 2.0**10
    a[_ONE, 3], b[3, _LAST] = 2.0 ** (exponent // 2 - 1), 2.0 ** (exponent // 2 - 1)
    far = torch.finfo(dtype).max > 2.0**100
    if far:
        a[_FAR, 4], b[4, _ONE] = 2.0**100, 2.0**-100  # where it overflows, its row has no number
    result = product(a, b).double()
    sides = [result[: len(values), _LAST].tolist(), result[_LAST, : len(values)].tolist()]
    found = [_kept_bits(side, kept) for side in sides]
    fewest = None if None in found else min(bit for bit in found if bit is not None)
    wide = result[_FAR, _ONE].item() == 1 if far else None
    tiny = wide is not False  # a narrower range loses these, subnormal or not
    return Operands(
        operand_bits=fewest,
        rounding=_rounding(fewest, bits, dict(zip(values, zip(*sides, strict=True), strict=True))),
        wide_range=wide,
        subnormal_operands=_subnormal(result[_ONE, _ONE].item(), 2.0 ** (exponent + 8), tiny),
        subnormal_results=_subnormal(result[_ONE, _LAST].item(), 2.0 ** (exponent - 2), tiny),
    )


def _around_a_tie(kept: int, bits: int) -> list[float]:
    """Values at and beside the middle of two numbers of `kept` bits, of both signs."""
    half = 2.0 ** -(kept + 1)
    values = [1 + half, 1 + 2 * half + half]
    if kept + 1 < bits:
        values += [1 + half + 2.0**-bits, 1 + half - 2.0**-bits]
    return [sign * value for value in values for sign in (1, -1)]


def _kept_bits(results: list[float], kept: list[float]) -> int | None:
    """How many of 1 + 2^-1, 1 + 2^-2, ... came through, if those are the first ones."""
    came = [result == value for result, value in zip(results, kept, strict=False)]
    first = len(list(takewhile(bool, came)))
    return first if first and not any(came[first:]) else None


def _rounding(kept: int | None, bits: int, results: dict[float, tuple[float, float]]) -> Rounding:
    """The one mode by which every value around a tie came out as it did, in both operands."""
    if kept is None:
        return "unknown"
    if kept == bits:
        return "none"
    scale = 2.0**kept
    fit: list[Rounding] = [
        mode
        for mode, rounded in _MODES.items()
        if all(
            side == rounded(value * scale) / scale
            for value in _around_a_tie(kept, bits)
            for side in results[value]
        )
    ]
    return fit[0] if len(fit) == 1 else "unknown"


def _subnormal(found: float, kept: float, in_range: bool) -> Subnormals:
    if not in_range or found not in (0.0, kept):
        return "unknown"
    return "kept" if found else "flushed"


def read_accumulator(
    product: Product, dtype: torch.dtype, *, wide: bool, generator: torch.Generator
) -> int | None:
    """Significant bits of the sum: the least p for which 2^p + 1 - 2^p, at 256 random places, is not 1."""
    large = torch.rand(SIZE, generator=generator) < 0.5
    powers = torch.arange(1, 101) if wide else torch.arange(-14, 16)
    a, b = torch.zeros(SIZE, SIZE), torch.ones(SIZE, SIZE)
    b[:, : len(powers)] = torch.where(large[:, None], 2.0**powers, 1.0)
    drawn = torch.rand(SIZE, SIZE, generator=generator) + large.float()
    rows, (first, second), one = torch.arange(SIZE), drawn.topk(2).indices.t(), drawn.argmin(1)
    a[rows, first], a[rows, second], a[rows, one] = 1.0, -1.0, 1.0
    half = SIZE // 2
    if not wide:  # float16's exponents reach that far with both factors only
        a[half:] = torch.where(large, a[half:] * 2.0**15, a[half:] * 2.0**-14)
    result = product(a.to(dtype), b.to(dtype)).double()[:, : len(powers)]
    exact = result == torch.where(
        torch.arange(SIZE)[:, None] < half, 1.0, 1.0 if wide else 2.0**-14
    )
    if wide:
        return _least_inexact(dict(zip(powers.tolist(), exact.all(0).tolist(), strict=True)))
    near = dict(zip(powers.tolist(), exact[:half].all(0).tolist(), strict=True))
    far = dict(zip((powers + 29).tolist(), exact[half:].all(0).tolist(), strict=True))
    return _least_inexact({power: held for power, held in near.items() if power > 0} | far)


def _least_inexact(exact: dict[int, bool]) -> int | None:
    """The first power that is not exact, if none after it is."""
    lost = [power for power, held in exact.items() if not held]
    return lost[0] if lost and lost[0] > 1 and len(lost) == max(exact) - lost[0] + 1 else None


def read_order(product: Product, dtype: torch.dtype, *, wide: bool) -> tuple[Order, int | None]:
    """The order in which SIZE summands are added, and the size of its blocks."""
    big, one, scale = (2.0**50, 2.0**-50, 1.0) if wide else (2.0**15, 2.0**-10, 2.0**-2)
    places = torch.arange(1, SIZE)
    a, b = torch.full((SIZE, SIZE), one), torch.full((SIZE, SIZE), scale)
    a[1:, 0], a[places, places] = big, -big
    if not wide:
        b[0] = b[places, places] = 2.0**15
    result = product(a.to(dtype), b.to(dtype)).double().diagonal()[1:] / (one * scale)
    return order_of(
        [round(left) for left in (SIZE - result).tolist()] if result.isfinite().all() else []
    )


def order_of(met: list[int]) -> tuple[Order, int | None]:
    """The order, from how many summands are below the sum in which the first meets each of the others."""
    if not met or max(met) <= 2 or not 2 <= min(met) <= max(met) <= SIZE:
        return "unknown", None
    if met == [2 ** place.bit_length() for place in range(1, SIZE)]:
        return "pairwise", None
    for block in range(1, SIZE - 1):
        inside = met[: block - 1]
        if inside and max(inside) > block:
            continue
        if all(
            met[place - 1] == min(SIZE, (place // block + 1) * block)
            for place in range(block, SIZE)
        ):
            return ("sequential", None) if block == 1 else ("blocks", block)
    return "other", None
