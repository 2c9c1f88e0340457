"""Every figure of one pair of tensors, from one walk over their blocks."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kit.accuracy.blocks import as_real, blocks, fits_single, widen
from kit.accuracy.ranking import Ranking, RankTotals, finish_ranking
from kit.accuracy.torch_blocks import TorchBlocks
from kit.accuracy.totals import CLOSE, SHARES, Totals, finite

if TYPE_CHECKING:
    from torch import Tensor

# Elements: the half dozen fp64 arrays of a block stay in the cache (256 KiB each), and torch runs an
# operator on no more than that in one thread (its grain size): others would wait more than they work.
_BLOCK = 1 << 15
_COMPILED_BLOCK = 1 << 18  # elements: compiled loops cut it further
# Elements; below this, importing numba takes longer than its kernels save.
_LARGE = 1 << 23
# Squares of larger fp64 values, or of the rounding errors of smaller ones, leave fp64; then the sums
# are taken of scaled values.
_SQUARES = (1e-120, 1e140)


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """Counts of the values of one side that are no numbers."""

    nan: int
    pos_inf: int
    neg_inf: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.nan + self.pos_inf + self.neg_inf


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side's own figures, over the positions where both are finite; None where there are none."""

    min: float | None
    max: float | None
    mean: float | None
    nonfinite: NonFinite


@dataclass(frozen=True, kw_only=True)
class Close:
    """Whether |device - reference| <= atol + rtol |reference| everywhere (equal infinities are)."""

    atol: float
    rtol: float
    allclose: bool


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of d = device against r = reference, None where there is no finite value or no norm to
    divide by. A complex tensor counts as the pairs of its real and imaginary parts.

    `relative_l2` is ||d - r|| / ||r||; `max_over_range` max|d - r| / max|r|; `one_minus_cosine` is not
    taken from the rounded `cosine_similarity`; `snr_db` 20 log10(||r|| / ||d - r||), None without any
    error; `share_within_*` the part of all elements with |d - r| <= that times |r|;
    `mean_relative` the mean of |d - r| / |r| where r is not 0, `mean_relative_big` where |r| > 0.01;
    `relative_l2_centred` is ||d - r - mean|| / ||r - mean||, each side's own mean taken away;
    `relative_l2_small` that of the elements below a tenth of the reference's RMS, measured only where
    few elements dominate.
    """

    elements: int
    finite: int
    max_abs_diff: float | None
    max_abs_index: tuple[int, ...] | None
    reference_at_max: float | None
    device_at_max: float | None
    mean_abs_diff: float | None
    rmse: float | None
    relative_l2: float | None
    relative_l2_centred: float | None
    relative_l2_small: float | None
    max_over_range: float | None
    cosine_similarity: float | None
    one_minus_cosine: float | None
    snr_db: float | None
    share_within_1e_2: float
    share_within_1e_3: float
    share_within_1e_4: float
    mean_relative: float | None
    mean_relative_big: float | None
    allclose: bool
    close: tuple[Close, ...]
    positions_agree: bool
    reference: Side
    device: Side
    ranking: Ranking | None = None

    @property
    def reference_max_abs(self) -> float | None:
        """max|r|."""
        if self.reference.min is None or self.reference.max is None:
            return None
        return max(abs(self.reference.min), abs(self.reference.max))


def measure(
    reference: Tensor, device: Tensor, *, ranked: bool = False, threads: int | None = None
) -> Metrics:
    """Compare two CPU tensors of one shape, of any dtypes and strides; in fp64, so that integers
    beyond 2**53 are rounded, and a norm some 150 decades below the other side's is 0.

    `ranked` adds the figures of classes over the last dimension (fp64 memory: a few rows of it).
    `threads` is for large tensors, by default one for each core; the figures do not depend on it.
    Raises ValueError for shapes that differ or are empty: a comparison of nothing is no comparison.
    """
    if reference.shape != device.shape or reference.numel() == 0:
        raise ValueError(f"shapes {list(reference.shape)} and {list(device.shape)} do not compare")
    reference, device = as_real(reference), as_real(device)
    if reference.dim() == 0:
        reference, device = reference.reshape(1), device.reshape(1)
    row = reference.shape[-1] if ranked else None
    totals, ranks = _Walk(reference, device, row=row, threads=threads).run()
    scaled, scale = totals, 1.0
    largest = float(abs(totals.ends[1:]).max())
    if totals["finite"] and largest and not _SQUARES[0] < largest < _SQUARES[1]:
        scale = 2.0 ** max(-1000, min(1000, -math.frexp(largest)[1]))
        scaled, _ = _Walk(reference, device, threads=threads, scale=scale).run()
    rank = finish_ranking(ranks, partial(_row, reference, device)) if ranked else None
    return _finish(reference, device, totals, scaled, scale, rank)


class _Walk:
    """One walk over a pair: what reads its blocks, and on how many threads."""

    def __init__(
        self,
        reference: Tensor,
        device: Tensor,
        *,
        row: int | None = None,
        threads: int | None = None,
        scale: float = 1.0,
    ) -> None:
        large = reference.numel() >= _LARGE
        self._pair, self._row, self._scale = (reference, device), row, scale
        self._threads = (threads or os.cpu_count() or 1) if large else 0
        self._single = fits_single(reference) and fits_single(device)
        self._compiled = large and find_spec("numba") is not None
        self._local = threading.local()

    def run(self) -> tuple[Totals, RankTotals]:
        """The totals, and those of the rows where there are rows."""
        totals, ranks = Totals(), RankTotals()
        for more, more_ranks in self._each():
            totals.add(more)
            if more_ranks is not None:
                ranks.add(more_ranks)
        return totals, ranks

    def _each(self) -> Iterator[tuple[Totals, RankTotals | None]]:
        size = _COMPILED_BLOCK if self._compiled else _BLOCK
        walk = blocks(*self._pair, size, row=self._row or 1)
        if not self._threads:
            yield from map(self._read, walk)
            return
        import torch

        # The threads are the blocks'; torch's own within one would only get in their way, and would
        # sum in another order where there are more of them: so even one thread is one of a pool.
        with ThreadPoolExecutor(
            self._threads, initializer=lambda: torch.set_num_threads(1)
        ) as pool:
            yield from pool.map(self._read, walk)

    def _read(self, block: tuple[int, Tensor, Tensor]) -> tuple[Totals, RankTotals | None]:
        if not hasattr(self._local, "read"):
            self._local.read = self._reader()
        offset, *sides = block
        sides = [widen(side, single=self._single) for side in sides]
        if self._scale != 1:
            sides = [side * self._scale for side in sides]
        read: tuple[Totals, RankTotals | None] = self._local.read(offset, *sides, self._row)
        return read

    def _reader(self) -> Callable[..., tuple[Totals, RankTotals | None]]:
        if not self._compiled:
            return TorchBlocks()
        from kit.accuracy.compiled import CompiledBlocks

        return CompiledBlocks()


def _row(reference: Tensor, device: Tensor, number: int) -> tuple[Tensor, Tensor]:
    at = _unravel(number, tuple(reference.shape[:-1]))
    return reference[at], device[at]


def _finish(
    reference: Tensor,
    device: Tensor,
    totals: Totals,
    scaled: Totals,
    scale: float,
    rank: Ranking | None,
) -> Metrics:
    """The figures that follow from the sums; `scaled` are those of values times `scale`."""
    count, shape = totals["finite"], tuple(reference.shape)
    at = _unravel(totals.largest_at, shape) if count and totals["largest"] < math.inf else None
    error, norm = math.sqrt(scaled["square_diff"]), math.sqrt(scaled["square_reference"])
    device_norm = math.sqrt(scaled["square_device"])
    cosine = _ratio(scaled["product"], norm * device_norm)
    cosine = None if cosine is None else max(-1.0, min(1.0, cosine))
    largest = max(abs(scaled["reference_min"]), abs(scaled["reference_max"])) if count else 0.0
    relative = _ratio(error, norm)
    close = tuple(
        Close(
            atol=atol, rtol=rtol, allclose=totals[f"close_{atol:g}_{rtol:g}"] == reference.numel()
        )
        for atol, rtol in CLOSE
    )
    within = [totals[f"within_{share:g}"] / reference.numel() for share in SHARES]
    return Metrics(
        elements=reference.numel(),
        finite=int(count),
        max_abs_diff=finite(totals["largest"]) if count else None,
        max_abs_index=at,
        reference_at_max=float(reference[at].double()) if at is not None else None,
        device_at_max=float(device[at].double()) if at is not None else None,
        mean_abs_diff=_mean("abs_diff", totals, scaled, scale),
        rmse=finite(error / math.sqrt(count) / scale) if count else None,
        relative_l2=relative,
        relative_l2_centred=_centred(scaled),
        relative_l2_small=_small(reference, device, scaled, scale),
        max_over_range=_ratio(scaled["largest"], largest) if count else None,
        cosine_similarity=cosine,
        one_minus_cosine=_one_minus_cosine(cosine, error, norm, device_norm),
        snr_db=-20 * math.log10(relative) if relative else None,
        share_within_1e_2=within[0],
        share_within_1e_3=within[1],
        share_within_1e_4=within[2],
        mean_relative=_ratio(totals["relative"], totals["relative_count"]),
        mean_relative_big=_ratio(totals["relative_big"], totals["relative_big_count"]),
        allclose=close[0].allclose,
        close=close,
        positions_agree=totals["disagree"] == 0,
        reference=_side(totals, "reference", scaled, scale),
        device=_side(totals, "device", scaled, scale),
        ranking=rank,
    )


def _one_minus_cosine(
    cosine: float | None, error: float, norm: float, device_norm: float
) -> float | None:
    """1 - cosine, where it is small as ||r/|r| - d/|d|||^2 / 2: exact where the cosine rounds to 1.
    That loses its digits where the norms differ much, and the cosine has them."""
    if cosine is None:
        return None
    if error**2 > norm * device_norm:
        return 1 - cosine
    return max(0.0, error**2 - (norm - device_norm) ** 2) / (2 * norm * device_norm)


def _side(totals: Totals, side: str, scaled: Totals, scale: float) -> Side:
    there = totals["finite"] > 0
    return Side(
        min=totals[f"{side}_min"] if there else None,
        max=totals[f"{side}_max"] if there else None,
        mean=_mean(side, totals, scaled, scale),
        nonfinite=NonFinite(
            nan=int(totals[f"{side}_nan"]),
            pos_inf=int(totals[f"{side}_pos_inf"]),
            neg_inf=int(totals[f"{side}_neg_inf"]),
        ),
    )


def _mean(name: str, totals: Totals, scaled: Totals, scale: float) -> float | None:
    """The mean of what `name` sums: of scaled values only where the sum itself leaves fp64."""
    count, total = totals["finite"], totals[name]
    if not count:
        return None
    return finite(total / count if math.isfinite(total) else scaled[name] / count / scale)


def _centred(totals: Totals) -> float | None:
    """Relative L2 without each side's mean; None where what remains is lost in fp64's rounding."""
    count = totals["finite"]
    if not count:
        return None
    spread = totals["square_reference"] - totals["reference"] ** 2 / count
    if not spread > 1e-10 * totals["square_reference"]:
        return None
    error = totals["square_diff"] - (totals["device"] - totals["reference"]) ** 2 / count
    return finite(math.sqrt(max(error, 0.0) / spread))


def _small(reference: Tensor, device: Tensor, totals: Totals, scale: float) -> float | None:
    """Relative L2 of the elements below a tenth of the RMS, where few others dominate: their mean
    absolute value is less than half of the RMS (0.8 of it for a normal distribution). `totals` are
    those of values times `scale`."""
    import torch

    count = totals["finite"]
    rms = math.sqrt(totals["square_reference"] / count) if count else 0.0
    if not totals["abs_reference"] < 0.5 * rms * count:
        return None
    # Below its dtype's normal numbers the device has no relative precision to lose.
    least = torch.finfo(device.dtype).tiny if device.is_floating_point() else 0.0
    error = norm = 0.0
    for _, ours, theirs in blocks(reference, device, _BLOCK):
        r, d = widen(ours, single=False), widen(theirs, single=False)
        size = r.abs()
        there = (size >= least) & (size < 0.1 * (rms / scale)) & d.isfinite()
        r, d = r[there] * scale, d[there] * scale
        error += float((d - r).square().sum())
        norm += float(r.square().sum())
    return _ratio(math.sqrt(error), math.sqrt(norm))


def _ratio(numerator: float, denominator: float) -> float | None:
    return finite(numerator / denominator) if denominator else None


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    position = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        position.append(remainder)
    return tuple(reversed(position))
