"""What must be so between the figures of one output, whatever the model and the data: claims in words,
each with its test.

A figure that is absent (None) makes no claim. Each test allows for the rounding of fp64 sums and for
what leaves fp64 (kit/accuracy/metrics.py), and for nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

from kit.accuracy.figures import Metrics, Ranking, Side
from kit.accuracy.further import Further
from kit.accuracy.part import Part
from kit.accuracy.totals import CLOSE

# Relative rounding of fp64 sums over many elements; and what is lost where squares leave fp64.
_ROUNDING, _LOST = 1e-9, 1e-30


def ordered(*values: float | None, slack: float = 0.0) -> bool:
    """Whether each is at most the next, within rounding; absent ones aside."""
    there = [value for value in values if value is not None]
    return all(a <= b + _ROUNDING * abs(b) + slack for a, b in pairwise(there))


def same(a: float | None, b: float | None, slack: float = 0.0) -> bool:
    """Whether two figures are equal within rounding, or one is absent."""
    return a is None or b is None or math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=slack)


def _size(*sides: Side) -> float:
    """The largest absolute value of the sides."""
    return max((abs(v) for side in sides for v in (side.min, side.max) if v is not None), default=0)


def _lost(m: Metrics) -> float:
    """Differences up to this are lost in squares (an fp64 square below 1e-308 is 0)."""
    return 1e-150 * max(1.0, _size(m.reference, m.device))


def _mean_slack(m: Metrics) -> float:
    return _ROUNDING * _size(m.reference, m.device) + _lost(m)


def _relative_l2_bounds(m: Metrics) -> bool:
    largest = m.reference_max_abs
    if m.rmse is None or not largest or m.relative_l2 is None:
        return True
    least = m.rmse / largest
    return ordered(least, m.relative_l2, least * math.sqrt(m.finite), slack=_LOST)


def _cosine_bounds(m: Metrics) -> bool:
    """||d - r|| / ||r|| is at least the sine of the angle between r and d."""
    if m.one_minus_cosine is None or m.relative_l2 is None or m.one_minus_cosine > 1:
        return True
    sine = math.sqrt(max(0.0, m.one_minus_cosine * (2 - m.one_minus_cosine)))
    return ordered(sine, m.relative_l2, slack=1e-7)


def _snr(m: Metrics) -> bool:
    if not m.relative_l2:
        return m.snr_db is None
    return m.snr_db is not None and same(m.snr_db, -20 * math.log10(m.relative_l2), 1e-9)


def _close(m: Metrics) -> bool:
    """Each allclose against the largest difference, as far as that decides it."""
    largest = m.reference_max_abs or 0.0
    for close in m.close:
        if m.max_abs_diff is None:
            continue
        if m.finite == m.elements and m.max_abs_diff <= close.atol and not close.allclose:
            return False
        limit = close.atol + close.rtol * largest
        if close.allclose and not (m.positions_agree and ordered(m.max_abs_diff, limit)):
            return False
    return [(close.atol, close.rtol) for close in m.close] == list(CLOSE)


def _counts(m: Metrics) -> bool:
    lost, totals = m.elements - m.finite, [m.reference.nonfinite.total, m.device.nonfinite.total]
    if m.positions_agree and not (
        m.reference.nonfinite == m.device.nonfinite and lost == totals[0]
    ):
        return False
    return max(totals) <= lost <= sum(totals)


def _at_largest(m: Metrics) -> bool:
    if m.max_abs_diff is None or m.device_at_max is None or m.reference_at_max is None:
        return (m.max_abs_index is None) is (m.device_at_max is None) is (m.max_abs_diff is None)
    there = m.max_abs_index is not None and all(at >= 0 for at in m.max_abs_index)
    return there and same(m.max_abs_diff, abs(m.device_at_max - m.reference_at_max))


def _shares(m: Metrics) -> bool:
    shares = [m.share_within_1e_4, m.share_within_1e_3, m.share_within_1e_2]
    counts = [share * m.elements for share in shares]
    whole = all(math.isclose(count, round(count), abs_tol=1e-6 * m.elements) for count in counts)
    return whole and 0 <= shares[0] <= shares[1] <= shares[2] <= 1


def _part(m: Metrics, part: Part) -> bool:
    """What no part can have: more elements than there are, a scale beyond the largest value, an error
    below its floor that counts without a slope."""
    largest = m.reference_max_abs or 0.0
    within_rows = part.dimension is None and part.index is None and part.members == part.elements
    counts = part.relative_l2 is None or part.floor is None or part.relative_l2 > part.floor
    counts = counts or part.max_over_range is not None
    return (
        0 <= part.elements <= m.elements
        and (within_rows or ordered(0.0, part.scale, largest, slack=_LOST))
        and (part.relative_l2 is None or part.relative_l2 >= 0)
        and (part.max_over_range is None or part.max_over_range >= 0)
        and (part.floor is None or part.floor >= 0)
        and (not part.above_floor or counts or part.index is None)
    )


def _without_error(m: Metrics) -> bool:
    """Equal sides have no part with an error."""
    if m.max_abs_diff != 0:
        return True
    changed = [part.relative_l2 != 0 or part.above_floor for part in m.parts.named.values()]
    return not any(changed) and m.parts.changed_ids is None


METRICS: Mapping[str, Callable[[Metrics], bool]] = {
    "some of the elements are finite on both sides": lambda m: 0 <= m.finite <= m.elements,
    "no distance is below 0": lambda m: all(
        value is None or value >= 0
        for value in (
            m.max_abs_diff, m.mean_abs_diff, m.rmse, m.relative_l2, m.relative_l2_centred,
            m.max_over_range, m.mean_relative, m.mean_relative_big,
        )
    ),
    "mean|diff| <= rmse <= max|diff|": lambda m: ordered(
        m.mean_abs_diff, m.rmse, m.max_abs_diff, slack=_lost(m)
    ),
    "max|diff| is that of the two values where it is": _at_largest,
    "the two values are within their sides": lambda m: ordered(
        m.reference.min, m.reference_at_max, m.reference.max
    )
    and ordered(m.device.min, m.device_at_max, m.device.max),
    "each mean lies within its side": lambda m: all(
        ordered(side.min, side.mean, side.max, slack=_mean_slack(m))
        for side in (m.reference, m.device)
    ),
    "the means are no further apart than mean|diff|": lambda m: m.device.mean is None
    or m.reference.mean is None
    or ordered(abs(m.device.mean - m.reference.mean), m.mean_abs_diff, slack=_mean_slack(m)),
    "the cosine and 1 - cosine are 1 together": lambda m: ordered(
        -1.0, m.cosine_similarity, 1.0
    )
    and (m.one_minus_cosine is None) is (m.cosine_similarity is None)
    and same(m.one_minus_cosine, 1 - (m.cosine_similarity or 0.0), 1e-9),
    "the SNR is -20 log10 of the relative L2": _snr,
    "max|diff|/max|ref| is of the two": lambda m: not m.reference_max_abs
    or same(m.max_over_range, (m.max_abs_diff or 0.0) / m.reference_max_abs, _LOST)
    or m.max_abs_diff is None,
    "the relative L2 fits the rmse": _relative_l2_bounds,
    "the relative L2 is at least the angle's sine": _cosine_bounds,
    "shares grow with their limit and are of whole elements": _shares,
    "allclose fits the largest difference": _close,
    "allclose is that of the first tolerances": lambda m: m.allclose is m.close[0].allclose,
    "non-finite values are as many as are not finite": _counts,
    "each part is one of the output's": lambda m: all(
        _part(m, part) for part in m.parts.named.values()
    ),
    "equal sides have equal parts": _without_error,
    "probabilities have no distance below 0": lambda m: (
        (m.parts.divergence is None or m.parts.total_variation is not None)
        and ordered(0.0, m.parts.total_variation)
        and ordered(0.0, m.parts.divergence)
        and ordered(0.0, m.parts.one_class)
    ),
    "no more parts are unheard than judged": lambda m: m.parts.unheard <= m.parts.judged,
}  # fmt: skip


def _disputes(r: Ranking) -> bool:
    rows = [row.row for row in r.disputed]
    apart = r.rows - r.top1_agree
    return (
        rows == sorted(set(rows))
        and all(0 <= row < r.rows for row in rows)
        and bool(rows) is bool(apart)
        and len(rows) <= apart
        and all(row.reference_top1 != row.device_top1 for row in r.disputed)
    )


RANKING: Mapping[str, Callable[[Ranking], bool]] = {
    "no more rows agree than there are": lambda r: (
        0 <= r.top1_agree <= r.rows and 0 <= r.top5_agree <= r.rows and r.rows > 0
    ),
    "the disputed rows are those that do not agree": _disputes,
    "no more rows are explained than there are": lambda r: ordered(0.0, r.explained, float(r.rows)),
    "margins and noise are not below 0": lambda r: (
        (r.smallest_margin or 0) >= 0
        and all(row.noise_p99 >= 0 and (row.row_relative_l2 or 0) >= 0 for row in r.disputed)
    ),
    "probabilities differ by 0 to 1": lambda r: ordered(0.0, r.softmax_max_diff, 1.0),
}

# On the further figures of an output.
FURTHER: Mapping[str, Callable[[Further], bool]] = {
    "the two relative errors are there together, the mean at most the largest": lambda f: (
        (f.mere is None) is (f.mare is None) and ordered(0.0, f.mere, f.mare)
    ),
    "a divergence is not below 0": lambda f: ordered(0.0, f.divergence),
    "an intersection is within its union": lambda f: ordered(0.0, f.least_iou, 1.0),
}
