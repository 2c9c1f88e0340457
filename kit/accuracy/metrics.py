"""Every figure of one pair of tensors, from blocked passes with fp64 sums.

fp32 sums are wrong at size (F.cosine_similarity of two nearly equal vectors gave 1.0036 at 32 M
elements), so every block is widened first. A non-finite value is counted, never zeroed and never
skipped silently: the figures are over the positions where both sides are finite, and the verdict
looks at the positions of the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1 << 16  # elements: the half dozen fp64 arrays of a block stay in the cache (512 KiB each)
ATOL, RTOL = 5e-2, 1e-2  # the reports' torch_allclose_atol_5e-2_rtol_1e-2
# "Within 1%": relative L2 and the largest difference over the reference's range, both. A cosine is
# not enough: cosine > 0.99 lets a relative L2 of 14% through, since rel_L2 >= sqrt(1 - cos^2).
ONE_PERCENT = 0.01


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """Counts of non-finite values on each side (NaN also apart), and whether kind and position all
    agree."""

    reference: int
    reference_nan: int
    device: int
    device_nan: int
    positions_agree: bool


@dataclass(frozen=True, kw_only=True)
class RankedRow:
    """One row of classes whose two top-1 differ, with what decides whether that matters."""

    row: int
    reference_top1: int
    device_top1: int
    margin: float | None
    noise_p99: float
    row_relative_l2: float | None

    @property
    def excused(self) -> bool:
        """The reference separates the two classes by less than twice the error of a row that is
        itself within 1%: a row of garbage has an error that would excuse anything."""
        return (
            self.margin is not None
            and self.row_relative_l2 is not None
            and self.margin < 2 * self.noise_p99
            and self.row_relative_l2 <= ONE_PERCENT
        )

    def __str__(self) -> str:
        margin = "nothing finite" if self.margin is None else f"{self.margin:.3g}"
        return (
            f"the reference separates the two by {margin}, twice the row's error is "
            f"{2 * self.noise_p99:.3g}, its relative L2 {self.row_relative_l2}"
        )


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Top-1 and top-5 agreement over all rows of the last dimension."""

    rows: int
    top1_agree: int
    top5_agree: int
    disputed: tuple[RankedRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of |device - reference|; None where there is no finite value or no norm to divide by.

    `relative_l2` is ||d - r|| / ||r||, `max_over_range` max|d - r| / max|r|, `cosine_similarity` in
    fp64 with `one_minus_cosine` beside it, `reference_constant` whether all reference values are equal.
    """

    elements: int
    finite: int
    max_abs_diff: float | None
    max_abs_index: tuple[int, ...] | None
    mean_abs_diff: float | None
    rmse: float | None
    relative_l2: float | None
    max_over_range: float | None
    cosine_similarity: float | None
    one_minus_cosine: float | None
    allclose: bool
    reference_max_abs: float | None
    reference_constant: bool
    nonfinite: NonFinite
    ranking: Ranking | None = None


@dataclass
class _Sums:
    """Running fp64 sums over the blocks of a pair."""

    finite: int = 0
    abs_diff: float = 0.0
    square_diff: float = 0.0
    square_reference: float = 0.0
    square_device: float = 0.0
    product: float = 0.0
    largest: float = -1.0
    largest_at: int = 0
    reference_min: float = math.inf
    reference_max: float = -math.inf
    allclose: bool = True
    nonfinite: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    positions_agree: bool = True


def measure(reference: Tensor, device: Tensor, *, ranked: bool = False) -> Metrics:
    """Compare two CPU tensors of one shape, of any floating point dtypes.

    `ranked` adds top-1 and top-5 agreement over the last dimension. Raises ValueError for shapes that
    differ or are empty: a comparison of nothing is no comparison.
    """
    if reference.shape != device.shape or reference.numel() == 0:
        raise ValueError(f"shapes {list(reference.shape)} and {list(device.shape)} do not compare")
    flat_reference, flat_device = reference.reshape(-1), device.reshape(-1)
    sums = _Sums()
    for start in range(0, flat_reference.numel(), _BLOCK):
        block = slice(start, start + _BLOCK)
        _add_block(sums, flat_reference[block].double(), flat_device[block].double(), start)
    rank = _ranking(reference, device) if ranked else None
    return _finish(sums, tuple(reference.shape), rank)


def top1_dispute(
    reference: Tensor, device: Tensor, reference_top1: int, device_top1: int, row: int = 0
) -> RankedRow:
    """What decides a dispute about the top class of one row of scores (1-D each)."""
    difference = (device.double() - reference.double()).abs()
    rest = difference.clone()
    rest[[reference_top1, device_top1]] = math.nan
    margin = float(reference[reference_top1].double() - reference[device_top1].double())
    noise = rest[rest.isfinite()]
    # torch.quantile refuses more than 16 M elements; the k-th value of the sorted row is as good.
    p99 = float(noise.kthvalue(max(1, math.ceil(0.99 * len(noise)))).values) if len(noise) else 0.0
    return RankedRow(
        row=row,
        reference_top1=reference_top1,
        device_top1=device_top1,
        margin=_finite(margin),
        noise_p99=p99,
        row_relative_l2=_ratio(float(difference.norm()), float(reference.double().norm())),
    )


def _add_block(sums: _Sums, reference: Tensor, device: Tensor, offset: int) -> None:
    import torch

    finite = reference.isfinite() & device.isfinite()
    if not bool(finite.all()):
        counts = (~reference.isfinite(), reference.isnan(), ~device.isfinite(), device.isnan())
        for which, there in enumerate(counts):
            sums.nonfinite[which] += int(there.sum())
        both_nan = reference.isnan() & device.isnan()
        same = finite | both_nan | (reference == device)
        sums.positions_agree &= bool(same.all())
        sums.allclose &= bool((finite | (reference == device)).all())  # NaN is close to nothing
    zero = torch.zeros((), dtype=torch.float64)
    reference, device = torch.where(finite, reference, zero), torch.where(finite, device, zero)
    difference = (device - reference).abs()
    sums.finite += int(finite.sum())
    if not bool(finite.any()):
        return
    sums.abs_diff += float(difference.sum())
    sums.square_diff += float(difference.dot(difference))
    sums.square_reference += float(reference.dot(reference))
    sums.square_device += float(device.dot(device))
    sums.product += float(reference.dot(device))
    sums.allclose &= bool((difference <= ATOL + RTOL * reference.abs()).all())
    sums.reference_min = min(sums.reference_min, float(reference[finite].min()))
    sums.reference_max = max(sums.reference_max, float(reference[finite].max()))
    largest = int(difference.argmax())
    if float(difference[largest]) > sums.largest:
        sums.largest, sums.largest_at = float(difference[largest]), offset + largest


def _finish(sums: _Sums, shape: tuple[int, ...], ranking: Ranking | None) -> Metrics:
    reference, reference_nan, device, device_nan = sums.nonfinite
    nonfinite = NonFinite(
        reference=reference,
        reference_nan=reference_nan,
        device=device,
        device_nan=device_nan,
        positions_agree=sums.positions_agree,
    )
    norms = math.sqrt(sums.square_reference) * math.sqrt(sums.square_device)
    max_abs = max(abs(sums.reference_min), abs(sums.reference_max)) if sums.finite else None
    cosine = _ratio(sums.product, norms)
    if cosine is not None:
        cosine = max(-1.0, min(1.0, cosine))  # rounding of the last bit
    return Metrics(
        elements=math.prod(shape),
        finite=sums.finite,
        max_abs_diff=_finite(sums.largest) if sums.finite else None,
        max_abs_index=_unravel(sums.largest_at, shape) if sums.finite else None,
        mean_abs_diff=_ratio(sums.abs_diff, sums.finite),
        rmse=_ratio(math.sqrt(sums.square_diff), math.sqrt(sums.finite)),
        relative_l2=_ratio(math.sqrt(sums.square_diff), math.sqrt(sums.square_reference)),
        max_over_range=_ratio(sums.largest, max_abs or 0.0),
        cosine_similarity=cosine,
        one_minus_cosine=1.0 - cosine if cosine is not None else None,
        allclose=sums.allclose,
        reference_max_abs=max_abs,
        reference_constant=sums.reference_min == sums.reference_max,
        nonfinite=nonfinite,
        ranking=ranking,
    )


def _ratio(numerator: float, denominator: float) -> float | None:
    return _finite(numerator / denominator) if denominator else None


def _finite(value: float) -> float | None:
    """A figure that overflowed is no figure."""
    return value if math.isfinite(value) else None


def _ranking(reference: Tensor, device: Tensor) -> Ranking:
    reference_rows = reference.reshape(-1, reference.shape[-1])
    device_rows = device.reshape(-1, device.shape[-1])
    reference_top, device_top = reference_rows.argmax(-1), device_rows.argmax(-1)
    disputed = tuple(
        top1_dispute(
            reference_rows[row],
            device_rows[row],
            int(reference_top[row]),
            int(device_top[row]),
            row,
        )
        for row in (reference_top != device_top).nonzero().flatten().tolist()
    )
    k = min(5, reference.shape[-1])
    # As sets: within the five, neighbours may change places by rounding alone.
    same5 = (
        reference_rows.topk(k).indices.sort(-1).values
        == device_rows.topk(k).indices.sort(-1).values
    ).all(-1)
    rows = reference_rows.shape[0]
    return Ranking(
        rows=rows,
        top1_agree=rows - len(disputed),
        top5_agree=int(same5.sum()),
        disputed=disputed,
    )


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    position = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        position.append(remainder)
    return tuple(reversed(position))
