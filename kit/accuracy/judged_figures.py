"""The verdict on one output by its figures alone, with the reasons in words and numbers."""

from __future__ import annotations

import math

from kit.accuracy.figures import Metrics, Side
from kit.accuracy.outcome import OutputVerdict, Verdict
from kit.accuracy.part import Part, Parts
from kit.accuracy.repeats import Repeat, unrepeatable
from kit.accuracy.thresholds import LOST, ONE_PERCENT, USUAL, Thresholds


def judge_metrics(
    metrics: Metrics, repeat: Repeat, thresholds: Thresholds = USUAL
) -> OutputVerdict:
    """Judge one output by its figures alone."""
    invalid, blank = _why_invalid(metrics, repeat)
    failed, notes = _why_failed(metrics, thresholds)
    within = bool(
        metrics.positions_agree
        and metrics.relative_l2 is not None
        and metrics.max_over_range is not None
        and metrics.relative_l2 <= ONE_PERCENT
        and metrics.max_over_range <= ONE_PERCENT
        and all(part.distance <= ONE_PERCENT for part in metrics.parts.counting.values())
        and all(distance <= ONE_PERCENT for _, distance in _distances(metrics.parts))
    )
    verdict: Verdict = "INVALID" if invalid else "FAIL" if failed else "PASS"
    return OutputVerdict(
        verdict=verdict,
        reasons=tuple(invalid or failed or notes),
        within_1_percent=within if not invalid else None,
        metrics=metrics,
        blank=blank,
    )


def _distances(parts: Parts) -> list[tuple[str, float]]:
    """Those of rows of probabilities; one that is infinite is past every limit."""
    if parts.total_variation is None:
        return []
    divergence = math.inf if parts.divergence is None else parts.divergence
    return [
        ("total variation", parts.total_variation),
        ("divergence", divergence),
        ("error of one class beside its probability", parts.one_class or 0.0),
    ]


def _told(name: str, part: Part) -> str:
    """A part in words and numbers."""
    if part.index is None:
        where = f"of {part.members} {'values within rows' if part.dimension is None else 'parts'}"
    else:
        at = ", ".join(map(str, part.index))
        where = at if part.dimension is None else f"{at} of dimension {part.dimension}"
    if part.relative_l2 is None:
        error = "has an error where the reference has nothing"
    else:
        error = f"has a relative L2 of {part.relative_l2:.3g}"
        if part.max_over_range:
            error += f", a value off by {part.max_over_range:.3g} of its largest"
    floor = "" if part.floor is None else f" (rounding: up to {part.floor:.3g})"
    slope = ""
    if part.above_floor and part.slope is not None and abs(part.slope - 1) > LOST:
        slope = f", and follows the reference's at a slope of {part.slope:.3g}"
    return f"worst {name}, {where}, {error}{floor}{slope}"


def _why_invalid(metrics: Metrics, repeat: Repeat) -> tuple[list[str], bool]:
    """Why nothing is shown, and whether that is all that is wrong: both sides are equal."""
    reasons = []
    lost = metrics.reference.nonfinite
    if lost.total == metrics.elements and not lost.nan:
        reasons.append("the reference has no finite value")
    elif metrics.reference_max_abs == 0:
        reasons.append("the reference is all zero: nothing can be relative to it")
    elif metrics.finite > 1 and metrics.reference.min == metrics.reference.max:
        reasons.append("all values of the reference are equal: it shows nothing")
    equal = metrics.positions_agree and metrics.max_abs_diff in (0.0, None)
    blank = bool(reasons) and equal
    if lost.nan:
        reasons = [f"the reference has {lost.nan} NaN values"]
    if problem := unrepeatable(repeat, metrics.relative_l2):
        reasons.append(f"two runs of the device {problem}: it is not repeatable")
        blank = False
    return reasons, blank and not lost.nan


def _why_failed(metrics: Metrics, thresholds: Thresholds) -> tuple[list[str], list[str]]:
    failed: list[str] = []
    notes: list[str] = []
    if not metrics.positions_agree:
        failed.append(
            f"non-finite values differ: {metrics.device.nonfinite.total} on the device, "
            f"{metrics.reference.nonfinite.total} in the reference"
        )
    for label, value, limit in (
        ("relative L2", metrics.relative_l2, thresholds.relative_l2),
        ("max|diff|/max|ref|", metrics.max_over_range, thresholds.max_over_range),
    ):
        if value is None:
            failed.append(f"{label} could not be computed")
        elif value <= limit:
            notes.append(f"{label} {value:.3g} <= {100 * limit:.3g}%")
        else:
            failed.append(f"{label} {value:.3g} > {100 * limit:.3g}%")
    if text := _flattened(metrics.reference, metrics.device):
        failed.append(text)
    for name, part in metrics.parts.named.items():
        if part.above_floor and part.distance > max(LOST, 10 * thresholds.relative_l2):
            failed.append(_told(name, part))
        elif part.relative_l2:
            notes.append(_told(name, part))
    if metrics.parts.unheard:
        notes.append(
            f"{metrics.parts.unheard} of {metrics.parts.judged} rows and channels are quieter than what "
            "rounding may do there: their loss would not show"
        )
    for label, distance in _distances(metrics.parts):
        (failed if distance > LOST else notes).append(
            f"rows are probabilities: the largest {label} of one is {distance:.3g}"
        )
    if metrics.parts.changed_ids is not None:
        column, rows = metrics.parts.changed_ids
        failed.append(f"column {column} is of whole numbers, and {rows} of them are others")
    if metrics.ranking is not None:
        disputed = metrics.ranking.disputed
        for row in disputed:
            text = f"top-1 of row {row.row} is {row.device_top1}, not {row.reference_top1}: {row}"
            (notes if row.excused else failed).append(text)
        if not disputed:
            notes.append(f"top-1 agrees in {metrics.ranking.rows} rows")
        elif (
            changed := metrics.ranking.rows - metrics.ranking.top1_agree
        ) > metrics.ranking.allowed:
            failed.append(
                f"top-1 changes in {changed} of {metrics.ranking.rows} rows, where errors of this size "
                f"explain {metrics.ranking.explained:.3g}, at most {metrics.ranking.allowed:.3g}"
            )
        elif len(disputed) < metrics.ranking.rows - metrics.ranking.top1_agree:
            failed.append("and further rows that were not looked at")
    return failed, notes


def _flattened(reference: Side, device: Side) -> str | None:
    """What to say of a device that gives one value everywhere, where not even bf16 would make one of the
    reference's; None for any other. (A device that gives 0 has no figure within its limits.)"""
    if reference.min is None or reference.max is None or not device.min:
        return None
    if device.min != device.max or _in_bf16(reference.min) == _in_bf16(reference.max):
        return None
    extent = f"{reference.min:.6g} to {reference.max:.6g}"
    return f"the device gives {device.min:.6g} everywhere, the reference {extent}"


def _in_bf16(value: float) -> float:
    """Rounded to the 8 bits that bf16 has; its range is fp32's."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 256), exponent - 8)
