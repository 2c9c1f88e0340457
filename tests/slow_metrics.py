"""A slow formula of every figure of measure(), independent of the kit's own: exact sums, in mpmath.

check(reference, device, measure(reference, device))
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import torch
from mpmath import mp, mpf
from msgspec.structs import fields

from kit.accuracy.figures import Close, Metrics, NonFinite, Side

# Beside what fp64 allows; and what its smallest numbers leave.
EPS, SMALLEST = 1e-12, 1e-322
Pairs = list[tuple[float, float]]


def values(tensor: torch.Tensor) -> list[float]:
    """Row by row, as Python has them; fp64 is what the figures are of."""
    flat = tensor.flatten().tolist()
    if tensor.is_complex():
        flat = [part for value in flat for part in (value.real, value.imag)]
    return [float(value) for value in flat]


def exact(numbers: Iterable[float]) -> Any:
    return mp.fsum(mpf(number) for number in numbers)


def squares(numbers: Iterable[float]) -> Any:
    return mp.fsum(mpf(number) ** 2 for number in numbers)


def quotient(numerator: Any, denominator: Any) -> float | None:
    """None without a denominator, or beyond fp64."""
    return in_fp64(numerator / denominator) if denominator else None


def in_fp64(value: Any) -> float | None:
    return float(value) if abs(value) <= sys.float_info.max else None


def slow(reference: torch.Tensor, device: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """The expected fields of Metrics, and how far those may be off that fp64 does not give to EPS."""
    pairs = list(zip(values(reference), values(device), strict=True))
    both = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    count, size = len(both), len(pairs)
    differences = [mpf(b) - mpf(a) for a, b in both]
    # What is compared with a limit, or is the largest, is so as fp64 has it.
    errors = [abs(b - a) for a, b in pairs]
    at = [math.isfinite(a) and math.isfinite(b) for a, b in pairs]
    largest_at = max((i for i in range(size) if at[i]), key=lambda i: (errors[i], -i), default=None)
    largest = errors[largest_at] if largest_at is not None else math.inf
    error, norm = mp.sqrt(squares(differences)), mp.sqrt(squares(a for a, _ in both))
    device_norm = mp.sqrt(squares(b for _, b in both))
    range_ = max((abs(a) for a, _ in both), default=0.0)
    relative = quotient(error, norm)
    cosine = None
    if norm and device_norm:
        cosine = exact(mpf(a) * mpf(b) for a, b in both) / (norm * device_norm)
    centred, centred_allowed = slow_centred(both)
    shape = (*reference.shape, 2) if reference.is_complex() else tuple(reference.shape) or (1,)
    expected: dict[str, Any] = {
        "elements": size,
        "finite": count,
        "max_abs_diff": in_fp64(largest),
        "max_abs_index": place(largest_at, shape) if largest < math.inf else None,
        "reference_at_max": pairs[largest_at][0] if largest < math.inf else None,
        "device_at_max": pairs[largest_at][1] if largest < math.inf else None,
        "mean_abs_diff": quotient(exact(map(abs, differences)), count),
        "rmse": quotient(error, mp.sqrt(count)),
        "relative_l2": relative,
        "relative_l2_centred": centred,
        "max_over_range": quotient(max(map(abs, differences), default=0), range_),
        "cosine_similarity": None if cosine is None else float(cosine),
        "one_minus_cosine": None if cosine is None else float(1 - cosine),
        "snr_db": -20 * math.log10(relative) if relative else None,
        "mean_relative": slow_relative(both, 0.0),
        "mean_relative_big": slow_relative(both, 0.01),
        "positions_agree": all(
            i or a == b or (math.isnan(a) and math.isnan(b))
            for i, (a, b) in zip(at, pairs, strict=True)
        ),
        "reference": slow_side([a for a, _ in pairs], [a for a, _ in both]),
        "device": slow_side([b for _, b in pairs], [b for _, b in both]),
        # The parts have a slow formula of their own.
        **dict.fromkeys(("ranking", "parts", "reference_fills", "device_fills")),
    }
    for name, share in ("1e_2", 1e-2), ("1e_3", 1e-3), ("1e_4", 1e-4):
        equal = sum(math.isinf(a) and a == b for a, b in pairs)
        within = sum(abs(b - a) <= share * abs(a) for a, b in both)
        expected[f"share_within_{name}"] = (equal + within) / size
    sides = [torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True)]
    expected["close"] = tuple(
        Close(atol=atol, rtol=rtol, allclose=torch.allclose(sides[1], sides[0], rtol, atol))
        for atol, rtol in ((5e-2, 1e-2), (1e-5, 1.3e-6), (1e-5, 1e-3))
    )
    expected["allclose"] = expected["close"][0].allclose
    allowed: dict[str, Any] = {
        "relative_l2_centred": centred_allowed,
        # The product's terms cancel: the cosine is exact to EPS of 1, not of itself.
        "cosine_similarity": EPS,
        "snr_db": 10 * EPS + EPS * abs(expected["snr_db"] or 0),
        # The squares of errors that lie so far below the largest value underflow.
        "relative_l2": EPS * (relative or 0) + 1e-40,
        "rmse": EPS * (expected["rmse"] or 0) + 1e-40 * range_,
    }
    if cosine is not None:
        # |d - r|^2 - (|r| - |d|)^2 cancels where the two point one way: then its terms' EPS is left.
        terms = error**2 + abs(norm - device_norm) * (norm + device_norm)
        allowed["one_minus_cosine"] = EPS * float(min(1, terms / (2 * norm * device_norm))) + 1e-40
    if relative is not None and relative < 1e-25:
        del expected["snr_db"]
    return expected, allowed


def place(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, torch.unravel_index(torch.tensor(index), shape)))


def slow_side(all_: list[float], there: list[float]) -> Side:
    return Side(
        min=min(there, default=None),
        max=max(there, default=None),
        mean=quotient(exact(there), len(there)),
        nonfinite=NonFinite(
            nan=sum(map(math.isnan, all_)),
            pos_inf=all_.count(math.inf),
            neg_inf=all_.count(-math.inf),
        ),
    )


def slow_relative(both: Pairs, least: float) -> float | None:
    """Beyond fp64 where a difference is, although its quotient might not be."""
    there = [(a, b) for a, b in both if abs(a) > least]
    if any(math.isinf(b - a) for a, b in there):
        return None
    total = mp.fsum(abs(mpf(b) - mpf(a)) / abs(mpf(a)) for a, b in there)
    return quotient(total, len(there)) if in_fp64(total) is not None else None


def slow_centred(both: Pairs) -> tuple[float | None, float]:
    """With what rounding the sums leaves of the two differences of sums: all of it, or nothing."""
    count = len(both)
    if not count:
        return None, 0.0
    mean, shift = (exact(a for a, _ in both) / count, (exact(b - mpf(a) for a, b in both)) / count)
    spread, whole = squares(a - mean for a, _ in both), squares(a for a, _ in both)
    if not spread > mpf("1e-10") * whole:
        return None, 0.0
    error = squares(b - mpf(a) - shift for a, b in both)
    round_off = mpf(EPS) / 100
    lost = round_off * exact(abs(mpf(a)) + abs(mpf(b)) for a, b in both)
    lost = round_off * (error + shift**2 * count) + 2 * abs(shift) * lost + lost**2 / count
    worst = mp.sqrt((error + lost) / (spread - round_off * whole))
    best = mp.sqrt(max(0, error - lost) / (spread + round_off * whole))
    return in_fp64(mp.sqrt(error / spread)), float(worst - best) + 1e-40


def slow_ranking(reference: torch.Tensor, device: torch.Tensor) -> dict[str, Any]:
    """Of rows [rows, classes]: softmax and margins in mpmath, a NaN above all, ties by the index."""
    rows = [[values(row) for row in side] for side in (reference, device)]
    tops = [[sorted(range(len(r)), key=lambda i: (r[i] == r[i], -r[i])) for r in s] for s in rows]
    margins = [r[t[0]] - r[t[1]] for r, t in zip(rows[0], tops[0], strict=True) if len(r) > 1]
    margin = min((margin for margin in margins if margin == margin), default=math.inf)
    powers = [[power for row in side for power in softmax(row)] for side in rows]
    apart = [abs(b - a) for a, b in zip(*powers, strict=True)]
    return {
        "rows": len(rows[0]),
        "top1_agree": sum(a[0] == b[0] for a, b in zip(*tops, strict=True)),
        "top5_agree": sum({*a[:5]} == {*b[:5]} for a, b in zip(*tops, strict=True)),
        "smallest_margin": margin if margin < math.inf else None,
        "softmax_max_diff": None if any(map(mp.isnan, apart)) else float(max(apart)),
        "disputed": [
            (row, a[0], b[0]) for row, (a, b) in enumerate(zip(*tops, strict=True)) if a[0] != b[0]
        ],
    }


def softmax(row: list[float]) -> list[Any]:
    powers = [mp.exp(mpf(value) - max(row)) for value in row]
    return [power / mp.fsum(powers) for power in powers]


def check(reference: torch.Tensor, device: torch.Tensor, found: Metrics, case: str = "") -> None:
    with mp.workdps(60):
        expected, allowed = slow(reference, device)
    assert {field.name for field in fields(Metrics)} - set(expected) <= {"snr_db"}
    for name, value in expected.items():
        if name in ("ranking", "parts", "reference_fills", "device_fills"):
            continue
        ours = getattr(found, name)
        if isinstance(value, Side):
            # The mean of values of both signs is exact to EPS of their size.
            pairs = zip(values(reference), values(device), strict=True)
            sides = [[abs(a), abs(b)] for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
            size = [float(exact(side) / len(side)) for side in zip(*sides, strict=True)] or [0, 0]
            near(ours.mean, value.mean, EPS * size[name == "device"], f"{case} {name}.mean")
            assert (ours.min, ours.max) == (value.min, value.max), f"{case} {name}"
            assert ours.nonfinite == value.nonfinite, f"{case} {name}"
        elif isinstance(value, float) and not name.startswith("share"):
            near(ours, value, allowed.get(name, EPS * abs(value)), f"{case} {name}")
        else:
            assert ours == value, f"{case} {name}: {ours}, not {value}"


def near(ours: float | None, value: float | None, allowed: float, what: str) -> None:
    if ours is None or value is None:
        assert ours is value, f"{what}: {ours}, not {value}"
    else:
        assert abs(ours - value) <= allowed + SMALLEST, f"{what}: {ours}, not {value}"
