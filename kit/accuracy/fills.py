"""Values that stand for "nothing here": what a mask writes in finite numbers.

A fill is an extreme value that many positions share, far beyond every other: finfo.min, -1e9, a dtype's
own minimum after a cast; or, where a mask of -1e4 was added to something, one that they share within 1%.
It says what -inf says, so it is read as -inf (+inf where it is positive): out of every sum, counted, and
it must agree by position. Two sides may write it in different numbers, as the smallest of fp16 is not
that of fp32, but only in numbers that mean nothing else: 1e6 beside 65504 is a value that saturated, and
100 beside +inf one that was lost.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.accuracy.blocks import blocks, widen

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1 << 18  # elements
_MANY = 4  # positions that share a value: one alone is an activation, however large
_BEYOND = 8.0  # times the largest other value: a clamp's limit lies beside the values that it cuts
_LIKE = 0.99  # of the extreme: what an added mask leaves of what it was added to
_LEAST = 50.0  # masks write large numbers; one-hot ones and saturated scores are values
_NOTHING = (
    -1e4
)  # from here down a mask's number may be another on the other side; above it must be the same
# What stands for +inf: the largest values of fp16, bf16, fp32 and fp64.
_LARGEST = (65504.0, (2 - 2**-7) * 2.0**127, (2 - 2**-23) * 2.0**127, sys.float_info.max)

Fills = tuple[float, ...]


@dataclass(frozen=True)
class _Fill:
    value: float
    exact: bool

    @property
    def like_infinity(self) -> bool:
        """Whether it may stand beside another number, or an infinity, that also means nothing."""
        return self.exact and (self.value <= _NOTHING or self.value in _LARGEST)


def find_fills(
    reference: Tensor, device: Tensor, ends: Sequence[float], infinite: bool
) -> tuple[Fills, Fills]:
    """The fills of both sides, of which each is its side's smallest or largest value.

    `ends` are the smallest and largest finite value of the reference, then of the device; `infinite`
    says whether one side has infinities. A fill of one side counts only where the other has one, or an
    infinity, of the same sign: else it is a value that went wrong.
    """
    if infinite:
        # `ends` are of positions where both are finite: not those of a fill against -inf.
        ends = [*_ends(reference), *_ends(device)]
    found: tuple[list[float], list[float]] = ([], [])
    for sign, at in ((-1, 0), (1, 1)):
        ours, theirs = _fill(reference, ends[at], sign), _fill(device, ends[2 + at], sign)
        if ours and theirs and not _alike(ours, theirs):
            continue
        if ours and (theirs or (infinite and ours.like_infinity and _has_infinity(device, sign))):
            found[0].append(ours.value)
        if theirs and (
            ours or (infinite and theirs.like_infinity and _has_infinity(reference, sign))
        ):
            found[1].append(theirs.value)
    return tuple(found[0]), tuple(found[1])


def without_fills(values: Tensor, fills: Fills) -> Tensor:
    """`values` with infinities in the place of fills; a copy where there are any."""
    for fill in fills:
        at = values <= _LIKE * fill if fill < 0 else values >= _LIKE * fill
        values = values.masked_fill(at, math.copysign(math.inf, fill))
    return values


def _fill(side: Tensor, value: float, sign: int) -> _Fill | None:
    """`value`, the side's end in the direction of `sign`, where it is a fill."""
    if not math.isfinite(value) or value * sign < _LEAST:
        return None
    count, same, rest = 0, 0, 0.0
    for _, block, _ in blocks(side, side, _BLOCK):
        values = widen(block, single=False)
        here = values * sign >= _LIKE * abs(value)
        count += int(here.sum())
        same += int((values == value).sum())
        others = values[~here & values.isfinite()]
        rest = max(rest, float(others.abs().max()) if len(others) else 0.0)
        if rest * _BEYOND > abs(value):
            return None
    if sign > 0 and same < count:  # only masks that are added are negative
        return None
    return _Fill(value, exact=same == count) if count >= _MANY and rest > 0 else None


def _alike(ours: _Fill, theirs: _Fill) -> bool:
    if ours.like_infinity and theirs.like_infinity:
        return True
    return abs(ours.value - theirs.value) <= (1 - _LIKE) * abs(ours.value)


def _ends(side: Tensor) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for _, block, _ in blocks(side, side, _BLOCK):
        values = widen(block, single=False)
        values = values[values.isfinite()]
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _has_infinity(side: Tensor, sign: int) -> bool:
    return any(
        bool((widen(block, single=False) == sign * math.inf).any())
        for _, block, _ in blocks(side, side, _BLOCK)
    )
