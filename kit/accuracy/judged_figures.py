"""The verdict on one output by its figures alone, with the reasons in words and numbers."""

from __future__ import annotations

import math

from kit.accuracy.figures import Metrics, Side
from kit.accuracy.outcome import OutputVerdict, Verdict
from kit.accuracy.part import Part, Parts, part_name
from kit.accuracy.repeats import Repeat, unrepeatable
from kit.accuracy.thresholds import LOST, ONE_PERCENT, USUAL, Thresholds
from kit.words import Reason


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
    equal = metrics.positions_agree and metrics.max_abs_diff in (0.0, None)
    verdict: Verdict = "INVALID" if invalid else "FAIL" if failed else "PASS"
    return OutputVerdict(
        verdict=verdict,
        reasons=tuple(invalid or failed or notes),
        within_1_percent=within if not invalid else None,
        metrics=metrics,
        blank=blank and (equal or (within and not failed)),
    )


def _distances(parts: Parts) -> list[tuple[Reason, float]]:
    """Those of rows of probabilities; one that is infinite is past every limit."""
    if parts.total_variation is None:
        return []
    divergence = math.inf if parts.divergence is None else parts.divergence
    return [
        (Reason("total_variation"), parts.total_variation),
        (Reason("kl_divergence"), divergence),
        (Reason("one_class"), parts.one_class or 0.0),
    ]


def _told(name: str, part: Part) -> Reason:
    """A part in words and numbers."""
    about = [Reason("part_from_nothing")]
    if part.relative_l2 is not None:
        about = [Reason("part_l2", value=part.relative_l2)]
        if part.max_over_range:
            about.append(Reason("part_off", value=part.max_over_range))
    if part.floor is not None:
        about.append(Reason("part_floor", floor=part.floor))
    if part.above_floor and part.slope is not None and abs(part.slope - 1) > LOST:
        about.append(Reason("part_slope", slope=part.slope))
    return Reason("worst_part", part=part_name(name), where=_where(part), about=about)


def _where(part: Part) -> str:
    if part.index is None:
        within_rows = part.dimension is None
        return Reason("of_values" if within_rows else "of_parts", members=part.members)
    at = ", ".join(map(str, part.index))
    return f"[{at}]" if part.dimension is None else Reason("at", at=at, dimension=part.dimension)


def _why_invalid(metrics: Metrics, repeat: Repeat) -> tuple[list[str], bool]:
    """Why nothing is shown, and whether that is only since the reference has nothing that could differ."""
    reasons: list[str] = []
    lost = metrics.reference.nonfinite
    if lost.total == metrics.elements and not lost.nan:
        reasons.append(Reason("nothing_finite"))
    elif metrics.reference_max_abs == 0:
        reasons.append(Reason("all_zero"))
    elif metrics.finite > 1 and metrics.reference.min == metrics.reference.max:
        reasons.append(Reason("all_alike"))
    blank = bool(reasons)
    if lost.nan:
        reasons = [Reason("nan", count=lost.nan)]
    if problem := unrepeatable(repeat, metrics.relative_l2):
        reasons.append(Reason("not_repeatable", problem=problem))
        blank = False
    return reasons, blank and not lost.nan


def _why_failed(metrics: Metrics, thresholds: Thresholds) -> tuple[list[str], list[str]]:
    failed: list[str] = []
    notes: list[str] = []
    if not metrics.positions_agree:
        failed.append(
            Reason(
                "nonfinite",
                device=metrics.device.nonfinite.total,
                reference=metrics.reference.nonfinite.total,
            )
        )
    for label, value, limit in (
        ("relative L2", metrics.relative_l2, thresholds.relative_l2),
        ("max|diff|/max|ref|", metrics.max_over_range, thresholds.max_over_range),
    ):
        if value is None:
            failed.append(Reason("not_computed", figure=label))
        elif value <= limit:
            notes.append(Reason("within", figure=label, value=value, limit=100 * limit))
        else:
            failed.append(Reason("past", figure=label, value=value, limit=100 * limit))
    if text := _flattened(metrics.reference, metrics.device):
        failed.append(text)
    for name, part in metrics.parts.named.items():
        if part.above_floor and part.distance > max(LOST, 10 * thresholds.relative_l2):
            failed.append(_told(name, part))
        elif part.relative_l2:
            notes.append(_told(name, part))
    if metrics.parts.unheard:
        notes.append(Reason("unheard", unheard=metrics.parts.unheard, judged=metrics.parts.judged))
    for label, distance in _distances(metrics.parts):
        (failed if distance > LOST else notes).append(
            Reason("probabilities", distance=label, value=distance)
            if math.isfinite(distance)
            else Reason("probabilities_apart", distance=label)
        )
    if metrics.parts.changed_ids is not None:
        column, rows = metrics.parts.changed_ids
        failed.append(Reason("other_column", column=column, rows=rows))
    if metrics.ranking is not None:
        disputed = metrics.ranking.disputed
        for row in disputed:
            text = Reason(
                "other_top1",
                row=row.row,
                device=row.device_top1,
                reference=row.reference_top1,
                why=row.told(),
            )
            (notes if row.excused else failed).append(text)
        if not disputed:
            notes.append(Reason("top1_agrees", rows=metrics.ranking.rows))
        elif (
            changed := metrics.ranking.rows - metrics.ranking.top1_agree
        ) > metrics.ranking.allowed:
            failed.append(
                Reason(
                    "top1_changes",
                    changed=changed,
                    rows=metrics.ranking.rows,
                    explained=metrics.ranking.explained,
                    allowed=metrics.ranking.allowed,
                )
            )
        elif len(disputed) < metrics.ranking.rows - metrics.ranking.top1_agree:
            failed.append(Reason("further_rows"))
    return failed, notes


def _flattened(reference: Side, device: Side) -> str | None:
    """What to say of a device that gives one value everywhere, where not even bf16 would make one of the
    reference's; None for any other. (A device that gives 0 has no figure within its limits.)"""
    if reference.min is None or reference.max is None or not device.min:
        return None
    if device.min != device.max or _in_bf16(reference.min) == _in_bf16(reference.max):
        return None
    return Reason("flat", device=device.min, least=reference.min, largest=reference.max)


def _in_bf16(value: float) -> float:
    """Rounded to the 8 bits that bf16 has; its range is fp32's."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 256), exponent - 8)
