"""Sums, counts and extremes of a pair of tensors, block by block, in fp64.

fp32 sums are wrong at size (F.cosine_similarity of two nearly equal vectors gave 1.0036 at 32 M
elements), so every value is widened before it is used. A non-finite value is counted, never zeroed and
never skipped silently: the sums are over the positions where both sides are finite.

What each figure is stands here, of parts in kit/accuracy/part_sums.py, of rows of classes in
kit/accuracy/ranking.py. Two walks compute them, which tests/test_metrics.py holds to the same numbers:
kit/accuracy/torch_blocks.py with torch, and kit/accuracy/compiled/ in one compiled pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An element is within `share` where |d - r| <= share |r|, and close where |d - r| <= atol + rtol |r|.
SHARES = (1e-2, 1e-3, 1e-4)
# (atol, rtol): the reports' own, then the defaults of torch.testing.assert_close for fp32 and fp16.
CLOSE = ((5e-2, 1e-2), (1e-5, 1.3e-6), (1e-5, 1e-3))
# Elements up to this size are left out of the second mean relative error ("|x| > 0.01 only").
BIG = 1e-2

# What is summed, in the order of Totals.sums, with r the reference and d the device; of elements that are
# finite on both sides, but for what counts those that are not.
SUMS = (
    "abs_diff",  # |d - r|
    "square_diff",  # (d - r)^2
    "square_reference",  # r^2
    "square_device",  # d^2
    "product",  # r d
    "reference",  # r
    "device",  # d
    "abs_reference",  # |r|
    "relative",  # |d - r| / |r|, of those with r != 0
    "relative_count",  # how many they are
    "relative_big",  # the same of those with |r| > BIG
    "relative_big_count",
    # Elements within, and close; equal infinities are both, as torch.allclose has it, and a NaN is neither.
    *(f"within_{share:g}" for share in SHARES),
    *(f"close_{atol:g}_{rtol:g}" for atol, rtol in CLOSE),
    "finite",  # elements that are so on both sides
    # Elements of one side.
    *(
        f"{side}_{kind}"
        for side in ("reference", "device")
        for kind in ("nan", "pos_inf", "neg_inf")
    ),
    "disagree",  # elements that are not finite, and not the same on both sides
)
_INDEX = {name: index for index, name in enumerate(SUMS)}


# Totals.ends: the largest |device - reference|, and both sides' smallest and largest values.
ENDS = ("largest", "reference_min", "reference_max", "device_min", "device_max")
NO_ENDS = (-1.0, math.inf, -math.inf, math.inf, -math.inf)


@dataclass
class Totals:
    """Running figures by name: totals["square_diff"]. `largest_at` is the flat index of the largest
    |device - reference|."""

    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(SUMS)))
    ends: NDArray[np.float64] = field(default_factory=lambda: np.array(NO_ENDS))
    largest_at: int = 0

    def __getitem__(self, name: str) -> float:
        return float(self.ends[ENDS.index(name)] if name in ENDS else self.sums[_INDEX[name]])

    def __setitem__(self, name: str, value: float) -> None:
        if name in ENDS:
            self.ends[ENDS.index(name)] = value
        else:
            self.sums[_INDEX[name]] = value

    def add(self, other: Totals) -> None:
        """Take in the figures of a later block."""
        self.sums += other.sums
        if other["largest"] > self["largest"]:
            self.largest_at = other.largest_at
        for name, choose in zip(ENDS, (max, min, max, min, max), strict=True):
            self[name] = choose(self[name], other[name])


def finite(value: float) -> float | None:
    """`value`, or None: a figure that overflowed is no figure."""
    return value if math.isfinite(value) else None
