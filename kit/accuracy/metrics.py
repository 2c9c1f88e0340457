"""Every figure of one pair of tensors, from one walk over their blocks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kit.accuracy.blocks import as_real
from kit.accuracy.figures import Close, Metrics, NonFinite, Ranking, Side
from kit.accuracy.fills import Fills, find_fills, without_fills
from kit.accuracy.part import Parts
from kit.accuracy.part_sums import by_rows, layout_of, shared_rows
from kit.accuracy.parts import find_parts
from kit.accuracy.probabilities import distances
from kit.accuracy.ranking import finish_ranking
from kit.accuracy.totals import CLOSE, SHARES, Totals, finite
from kit.accuracy.walk import Found, Walk

if TYPE_CHECKING:
    from torch import Tensor

# Squares of larger fp64 values, or of the rounding errors of smaller ones, leave fp64; then the sums
# are taken of scaled values.
_SQUARES = (1e-120, 1e140)


def measure(
    reference: Tensor,
    device: Tensor,
    *,
    ranked: bool = False,
    golden: Tensor | None = None,
    threads: int | None = None,
) -> Metrics:
    """Compare two CPU tensors of one shape, of any dtypes and strides; in fp64, so that integers
    beyond 2**53 are rounded, and a norm some 150 decades below the other side's is 0.

    `ranked` adds the figures of classes over the last dimension (fp64 memory: a few rows of it).
    `golden` is the reference in fp64, whose distance from it says what rounding does in each part.
    `threads` is for large tensors, by default one for each core up to 16; no figure depends on it.
    Raises ValueError for shapes that differ or are empty: a comparison of nothing is no comparison.
    """
    if reference.shape != device.shape or reference.numel() == 0:
        raise ValueError(f"shapes {list(reference.shape)} and {list(device.shape)} do not compare")
    paired, shape = reference.is_complex() or device.is_complex(), reference.shape
    roundoff, smallest = _rounding(reference, device)
    reference, device = as_real(reference), as_real(device)
    if reference.dim() == 0:
        reference, device = reference.reshape(1), device.reshape(1)
    ours, theirs, cut = reference, device, False
    if not ranked and not paired:  # a row of classes is one, and so is one of complex numbers
        (ours, cut), (theirs, _) = map(by_rows, (reference, device))
    layout = layout_of(tuple(ours.shape), paired=paired, cut=cut)
    layout = replace(layout, shared=shared_rows(ours, theirs, layout))
    walk, found, scaled, scale = _summed(
        Walk(reference=reference, device=device, layout=layout, ranked=ranked, threads=threads)
    )
    totals = found.totals
    own = None
    if golden is not None and golden.shape == shape:
        exact = as_real(golden).reshape(reference.shape)
        own = (
            replace(walk, reference=exact, device=reference, scale=scale, ranked=False).run().parts
        )
    rank = finish_ranking(found.ranks, partial(_row, walk)) if ranked else None
    parts = find_parts(
        scaled.parts,
        layout,
        roundoff=roundoff,
        smallest=smallest,
        largest=max(map(abs, totals.ends[1:3].tolist())) if totals["finite"] else 0.0,
        scale=scale,
        own=own,
        probabilities=None if paired else distances(walk.pair, found.parts, layout, totals.ends[1]),
    )
    return _finish(walk, totals, scaled.totals, scale, parts, rank)


def distance(reference: Tensor, device: Tensor) -> tuple[float | None, float | None, float | None]:
    """Relative L2, the largest and the mean |device - reference|, as measure() has them."""
    reference, device = (
        side.reshape(1) if side.dim() == 0 else side for side in map(as_real, (reference, device))
    )
    layout = layout_of(tuple(reference.shape), paired=False)
    walk = Walk(reference=reference, device=device, layout=layout, whole=True)
    _, found, scaled, scale = _summed(walk)
    totals = found.totals
    return (
        _relative(scaled.totals),
        finite(totals["largest"]) if totals["finite"] else None,
        _mean("abs_diff", totals, scaled.totals, scale),
    )


def _summed(walk: Walk) -> tuple[Walk, Found, Found, float]:
    """The walk with its fills, what it gives, the same of values times a scale where squares would leave
    fp64, and that scale."""
    found = walk.run()
    if any(fills := _fills(walk, found.totals)):
        walk = replace(walk, fills=fills)
        found = walk.run()
    largest = float(abs(found.totals.ends[1:]).max())
    if not found.totals["finite"] or not largest or _SQUARES[0] < largest < _SQUARES[1]:
        return walk, found, found, 1.0
    scale = 2.0 ** max(-1000, min(1000, -math.frexp(largest)[1]))
    return walk, found, replace(walk, scale=scale, ranked=False).run(), scale


def _rounding(*sides: Tensor) -> tuple[float, float]:
    """The unit roundoff of the coarser dtype, and what is lost at any scale: its smallest number, and of
    integers a level, with what the mean row differs by."""
    import torch

    infos = [torch.finfo(side.dtype) for side in sides if not _is_whole(side)]
    if not infos:
        return 0.0, 1.5
    return max(info.eps for info in infos) / 2, max(info.tiny * info.eps for info in infos)


def _is_whole(side: Tensor) -> bool:
    return not (side.is_floating_point() or side.is_complex())


def _fills(walk: Walk, totals: Totals) -> tuple[Fills, Fills]:
    """The fills of both sides; integers have none."""
    if any(map(_is_whole, walk.pair)):
        return (), ()
    sides = [
        f"{side}_{kind}" for side in ("reference", "device") for kind in ("pos_inf", "neg_inf")
    ]
    infinite = any(totals[name] for name in sides)
    return find_fills(*walk.pair, totals.ends[1:].tolist(), infinite)


def _row(walk: Walk, number: int) -> tuple[Tensor, Tensor]:
    at = _unravel(number, tuple(walk.reference.shape[:-1]))
    ours, theirs = (
        without_fills(side[at].double(), fills)
        for side, fills in zip(walk.pair, walk.fills, strict=True)
    )
    return ours, theirs


def _finish(
    walk: Walk, totals: Totals, scaled: Totals, scale: float, parts: Parts, rank: Ranking | None
) -> Metrics:
    """The figures that follow from the sums; `scaled` are those of values times `scale`."""
    reference, device = walk.pair
    count, shape = totals["finite"], tuple(reference.shape)
    at = _unravel(totals.largest_at, shape) if count and totals["largest"] < math.inf else None
    error, norm = math.sqrt(scaled["square_diff"]), math.sqrt(scaled["square_reference"])
    device_norm = math.sqrt(scaled["square_device"])
    cosine = _ratio(scaled["product"], norm * device_norm)
    cosine = None if cosine is None else max(-1.0, min(1.0, cosine))
    largest = max(abs(scaled["reference_min"]), abs(scaled["reference_max"])) if count else 0.0
    relative = _relative(scaled)
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
        parts=parts,
        reference_fills=walk.fills[0],
        device_fills=walk.fills[1],
        ranking=rank,
    )


def _relative(scaled: Totals) -> float | None:
    return _ratio(math.sqrt(scaled["square_diff"]), math.sqrt(scaled["square_reference"]))


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


def _ratio(numerator: float, denominator: float) -> float | None:
    return finite(numerator / denominator) if denominator else None


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    position = []
    for size in reversed(shape):
        index, remainder = divmod(index, size)
        position.append(remainder)
    return tuple(reversed(position))
