"""The verdict on one output and on all of them, with its reasons in words and numbers.

PASS needs every figure: what could not be computed, is missing on one side or is not repeatable never
passes. The limits are in kit/accuracy/thresholds.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from kit.accuracy.documented import Documented, says
from kit.accuracy.metrics import Metrics, Side, measure
from kit.accuracy.part import Part, Parts
from kit.accuracy.ranking import top1_dispute
from kit.accuracy.regions import are_ids, as_whole, compare_maps
from kit.accuracy.spec import OutputSpec
from kit.accuracy.thresholds import LOST, ONE_PERCENT, REPEATABLE, USUAL, Thresholds
from kit.errors import shown

if TYPE_CHECKING:
    from torch import Tensor

Verdict = Literal["PASS", "FAIL", "INVALID"]
_MOST_DIMENSIONS = 63  # of numpy's 64; a complex tensor is looked at with one more


@dataclass(frozen=True, kw_only=True)
class OutputVerdict:
    """One output: PASS, FAIL or INVALID, why, and the figures (None for integers). `blank`: both sides
    are equal, and hold nothing that could differ."""

    verdict: Verdict
    reasons: tuple[str, ...]
    within_1_percent: bool | None
    metrics: Metrics | None = None
    blank: bool = False


class Repeat(Documented, frozen=True, kw_only=True):
    """How two runs of one side differ on one output."""

    bit_identical: Annotated[bool, says("Whether all elements are equal.")]
    relative_l2: Annotated[
        float | None, says("||second - first|| / ||first||; null where it cannot be computed.")
    ]
    nonfinite_agree: Annotated[bool, says("Whether non-finite values agree in kind and position.")]
    max_abs_diff: Annotated[
        float | None, says("Largest difference; null for token ids and where nothing is finite.")
    ] = None


# For outputs of which only one run was saved; never for a run of the kit's own, which has two.
ASSUMED_REPEATABLE = Repeat(
    bit_identical=True, relative_l2=0.0, nonfinite_agree=True, max_abs_diff=0.0
)


def compare_runs(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Repeat]:
    """Repeatability of every output of two runs on the same input (CPU tensors)."""
    return {name: _repeat(first[name], second[name]) for name in first}


def judge_outputs(
    specs: Mapping[str, OutputSpec],
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeats: Mapping[str, Repeat],
    golden: Mapping[str, Tensor] | None = None,
) -> dict[str, OutputVerdict]:
    """Judge every output of `specs` but the step scores, which are judged with the ids they chose.
    `golden` are the reference's outputs in fp64, as far as there are any."""
    return settle(
        {
            name: judge_output(name, spec, reference, device, repeats.get(name), golden)
            for name, spec in specs.items()
            if spec.role != "step_scores"
        }
    )


def settle(verdicts: Mapping[str, OutputVerdict]) -> dict[str, OutputVerdict]:
    """Equal outputs that hold nothing (all zero, empty) pass beside one that holds something and
    passes; a comparison of nothing else shows nothing."""
    shown = any(found.verdict == "PASS" and not found.blank for found in verdicts.values())
    verdict: Verdict = "PASS" if shown else "INVALID"
    return {
        name: replace(found, verdict=verdict, within_1_percent=True if shown else None)
        if found.blank
        else found
        for name, found in verdicts.items()
    }


def judge_output(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeat: Repeat | None,
    golden: Mapping[str, Tensor] | None = None,
) -> OutputVerdict:
    """Judge the output `name` of both sides (CPU tensors)."""
    if name not in device or name not in reference:
        side = "device" if name not in device else "reference"
        return _invalid(f"the {side} has no output {shown(name)}")
    if repeat is None:
        return _invalid("the record does not say whether the device is repeatable")
    if spec.role == "token_ids":
        return _judge_token_ids(name, spec, reference, device, repeat)
    shapes = [list(side[name].shape) for side in (reference, device)]
    if shapes[0] != shapes[1]:
        return _invalid(f"shapes do not compare: {shapes[0]} and {shapes[1]}")
    if reference[name].numel() == 0:
        return _blank(f"both sides are empty: {shapes[0]}")
    if problem := next(filter(None, map(_why_unreadable, (reference[name], device[name]))), None):
        return _invalid(problem)
    exact = [_is_exact(side[name]) for side in (reference, device)]
    if all(exact):
        return _judge_exact(reference[name], device[name], repeat)
    if any(exact):
        return _invalid(f"{reference[name].dtype} and {device[name].dtype} do not compare")
    whole = spec.role != "logits" and repeat.bit_identical  # scores have figures of their own
    if whole and (verdict := _judge_whole(reference[name], device[name])):
        return verdict
    truth = (golden or {}).get(name)
    if truth is not None and (
        _is_exact(truth) or truth.is_complex() != reference[name].is_complex()
    ):
        truth = None
    metrics = measure(reference[name], device[name], ranked=spec.role == "logits", truth=truth)
    return judge_metrics(metrics, repeat, spec.thresholds)


def unrepeatable(repeat: Repeat, error: float | None) -> str | None:
    """How two runs of one side differ beyond what is allowed for the measured `error` (relative L2 of
    device and reference); None where they do not."""
    if repeat.bit_identical:
        return None
    if not repeat.nonfinite_agree:
        return "differ in their non-finite positions"
    allowed = max(REPEATABLE, (error or 0.0) / 2)
    if repeat.relative_l2 is None:
        return "differ by what cannot be computed"
    if repeat.relative_l2 > allowed:
        return f"differ by a relative L2 of {repeat.relative_l2}, above {allowed:.3g}"
    return None


def overall(verdicts: Mapping[str, OutputVerdict]) -> Verdict:
    """INVALID where any output is, then FAIL, else PASS; a comparison of nothing is INVALID."""
    found = {each.verdict for each in verdicts.values() if not each.blank}
    if not found or "INVALID" in found:
        return "INVALID"
    return "FAIL" if "FAIL" in found else "PASS"


def _why_unreadable(tensor: Tensor) -> str | None:
    """Why torch cannot compute with a dtype; None where it can."""
    import torch

    if tensor.dim() > _MOST_DIMENSIONS:
        return f"numpy has no arrays of {tensor.dim()} dimensions"
    try:
        first = tensor.flatten()[:1]
        first.to(torch.complex128 if tensor.is_complex() else torch.float64)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return f"torch cannot compare {tensor.dtype} ({str(error).splitlines()[0][:100]})"
    return None


def _is_exact(tensor: Tensor) -> bool:
    """Whether the dtype (integers, bool) has no rounding to allow for."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def _judge_exact(reference: Tensor, device: Tensor, repeat: Repeat) -> OutputVerdict:
    import torch

    if not repeat.bit_identical:
        return _invalid("two runs of the device gave other integers: it is not repeatable")
    different = int((reference.to(torch.int64) != device.to(torch.int64)).sum())
    if not different:
        reason = f"all {reference.numel()} integers are equal"
        first = reference.flatten()[0]
        if reference.numel() > 1 and bool((reference == first).all()):
            return _blank(f"{reason}, and all are {int(first)}")
        return OutputVerdict(verdict="PASS", reasons=(reason,), within_1_percent=None)
    return _judge_map(reference, device) or _fail(
        f"{different} of {reference.numel()} integers differ"
    )


def _judge_whole(reference: Tensor, device: Tensor) -> OutputVerdict | None:
    """Judge classes or ids that are stored as floats; None where they are none, or equal."""
    ours = as_whole(reference)
    theirs = None if ours is None else as_whole(device)
    if ours is None or theirs is None:
        return None
    different = int((ours != theirs).sum())
    if verdict := _judge_map(ours, theirs):
        return verdict
    if not different or not are_ids(reference):
        return None
    return _fail(f"{different} of {ours.numel()} whole numbers differ")


def _judge_map(reference: Tensor, device: Tensor) -> OutputVerdict | None:
    """Judge two maps of classes; None where they are none, or equal."""
    regions = compare_maps(reference, device)
    if regions is None or not regions.changed:
        return None
    reason = (
        f"a map of classes: {regions.changed} of {regions.pixels} pixels differ, {regions.strayed} of them "
        f"from all their neighbours; {regions.borders} lie at borders; the smallest intersection over "
        f"union is {regions.least_iou:.4g}, of class {regions.least_class}"
    )
    if not regions.rounding:
        return _fail(reason)
    return OutputVerdict(verdict="PASS", reasons=(reason,), within_1_percent=None)


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
        and not any(
            part.above_floor and not _within(part, ONE_PERCENT)
            for part in metrics.parts.named.values()
        )
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


def _within(part: Part, limit: float) -> bool:
    return part.relative_l2 is not None and part.relative_l2 <= limit


def _distances(parts: Parts) -> list[tuple[str, float]]:
    """Those of rows of probabilities; one that is infinite is past every limit."""
    if parts.total_variation is None:
        return []
    divergence = math.inf if parts.divergence is None else parts.divergence
    return [("total variation", parts.total_variation), ("divergence", divergence)]


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
        if part.above_floor and not _within(part, max(LOST, 10 * thresholds.relative_l2)):
            failed.append(_told(name, part))
        elif part.relative_l2:
            notes.append(_told(name, part))
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
    sides = reference.min, reference.max, device.min
    if None in sides or not device.min or device.min != device.max:
        return None
    least, most = (
        math.ldexp(round(m * 256), e - 8)
        for m, e in map(math.frexp, (sides[0] or 0, sides[1] or 0))
    )
    if least == most:
        return None
    return f"the device gives {device.min:.6g} everywhere, the reference {least:.6g} to {most:.6g}"


def _judge_token_ids(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeat: Repeat,
) -> OutputVerdict:
    """Ids must be equal, up to a step whose saved scores show that rounding alone may decide it, and
    the scores of the steps up to there must be within 1%."""
    ours, theirs = (side[name].flatten().tolist() for side in (reference, device))
    if not ours or not theirs or reference[name].is_floating_point() or ours[0] != theirs[0]:
        return _invalid("there are no token ids from one start to compare")
    if not repeat.bit_identical:
        return _invalid("two runs of the device gave other token ids: it is not repeatable")
    length = min(len(ours), len(theirs))
    position = next((at for at in range(length) if ours[at] != theirs[at]), length)
    if spec.scores is not None:
        # Position 0 is the decoder's start token, which no score chose.
        steps = min(position, length - 1)
        most = max(len(ours), len(theirs)) - 1
        if problem := _scores_problem(spec.scores, reference, device, steps, most):
            return problem
    if ours == theirs:
        return OutputVerdict(
            verdict="PASS", reasons=(f"all {len(ours)} token ids are equal",), within_1_percent=None
        )
    return _judge_divergence(spec, reference, device, position, (ours, theirs))


def _scores_problem(
    scores: str,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    steps: int,
    most: int,
) -> OutputVerdict | None:
    """What is wrong with the scores of the first `steps` steps, which had the same tokens before; there
    may be `most` steps, since what no token shows would be judged by nothing."""
    if scores not in reference or scores not in device:
        return _invalid(f"the scores of the token ids, {scores}, were not saved")
    ours, theirs = reference[scores][:, :steps], device[scores][:, :steps]
    if ours.shape != theirs.shape or ours.dim() != 3 or ours.numel() == 0:
        return _invalid(f"shapes of {scores} do not compare: {ours.shape} and {theirs.shape}")
    if reference[scores].shape[1] > most:
        return _invalid(f"{scores} have {reference[scores].shape[1]} steps, the ids {most}")
    verdict = judge_metrics(measure(ours, theirs), ASSUMED_REPEATABLE)
    if verdict.verdict == "PASS":
        return None
    reasons = tuple(f"scores of the first {steps} steps: {reason}" for reason in verdict.reasons)
    return OutputVerdict(verdict=verdict.verdict, reasons=reasons, within_1_percent=False)


def _judge_divergence(
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    position: int,
    ids: tuple[list[int], list[int]],
) -> OutputVerdict:
    """Token ids that differ from `position` on: whether that step's scores excuse it."""
    text = f"token ids differ from position {position} on"
    if spec.scores is None or position >= min(map(len, ids)):
        return _fail(f"{text}, where only one side has a token or a score")
    scores = reference[spec.scores][0, position - 1]
    device_scores = device[spec.scores][0, position - 1]
    if not all(0 <= side[position] < len(scores) for side in ids):
        return _invalid(f"{text}, to one that the vocabulary does not have")
    row = top1_dispute(scores, device_scores, ids[0][position], ids[1][position], position - 1)
    if not row.excused:
        return _fail(f"{text}: {row}")
    return OutputVerdict(verdict="PASS", reasons=(f"{text}: {row}",), within_1_percent=None)


def _repeat(first: Tensor, second: Tensor) -> Repeat:
    import torch

    if first.shape != second.shape:
        return Repeat(bit_identical=False, relative_l2=None, nonfinite_agree=False)
    try:
        same_values = torch.equal(first, second)  # the rule; never so with a NaN
    except NotImplementedError:  # formats of 8 bits and fewer
        same_values = first.dtype == second.dtype and _bytes(first) == _bytes(second)
    if same_values:
        return Repeat(bit_identical=True, relative_l2=0.0, nonfinite_agree=True, max_abs_diff=0.0)
    if _is_exact(first) or _why_unreadable(first) or _why_unreadable(second):
        return Repeat(bit_identical=False, relative_l2=None, nonfinite_agree=True)
    metrics = measure(first, second)
    same = metrics.positions_agree and metrics.max_abs_diff in (0.0, None)
    return Repeat(
        bit_identical=same,
        relative_l2=0.0 if same else metrics.relative_l2,
        nonfinite_agree=metrics.positions_agree,
        max_abs_diff=metrics.max_abs_diff,
    )


def _bytes(tensor: Tensor) -> bytes:
    import torch

    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def _blank(reason: str) -> OutputVerdict:
    return OutputVerdict(verdict="INVALID", reasons=(reason,), within_1_percent=None, blank=True)


def _invalid(reason: str) -> OutputVerdict:
    return OutputVerdict(verdict="INVALID", reasons=(reason,), within_1_percent=None)


def _fail(reason: str) -> OutputVerdict:
    return OutputVerdict(verdict="FAIL", reasons=(reason,), within_1_percent=False)
