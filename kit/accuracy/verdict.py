"""The verdict on one output and on all of them, with its reasons in words and numbers.

PASS needs every figure: what could not be computed, is missing on one side or is not repeatable never
passes. The thresholds have their one home here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kit.accuracy.metrics import Metrics, measure, top1_dispute
from kit.adapter import OutputSpec

if TYPE_CHECKING:
    from torch import Tensor

Verdict = Literal["PASS", "FAIL", "INVALID"]

# "Within 1%": relative L2 and the largest difference over the reference's range, both. A cosine is
# not enough: cosine > 0.99 lets a relative L2 of 14% through, since rel_L2 >= sqrt(1 - cos^2).
ONE_PERCENT = 0.01
# Two runs of one device may differ by this much (relative L2), or by half the error that is measured.
REPEATABLE = 1e-3


@dataclass(frozen=True, kw_only=True)
class OutputVerdict:
    """One output: PASS, FAIL or INVALID, why, and the figures (None for token ids)."""

    verdict: Verdict
    reasons: tuple[str, ...]
    within_1_percent: bool | None
    metrics: Metrics | None = None


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """How two runs of one side differ on one output."""

    bit_identical: bool
    relative_l2: float | None
    nonfinite_agree: bool
    max_abs_diff: float | None = None


def compare_runs(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Repeat]:
    """Repeatability of every output of two runs on the same input (CPU tensors)."""
    return {name: _repeat(first[name], second[name]) for name in first}


def judge_output(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeat: Repeat | None,
) -> OutputVerdict:
    """Judge the output `name` of both sides (CPU tensors)."""
    if name not in device or name not in reference:
        side = "device" if name not in device else "reference"
        return _invalid(f"the {side} has no output {name}")
    if spec.role == "token_ids":
        return _judge_token_ids(name, spec, reference, device)
    if reference[name].shape != device[name].shape or reference[name].numel() == 0:
        return _invalid(
            f"shapes do not compare: {list(reference[name].shape)} and {list(device[name].shape)}"
        )
    metrics = measure(reference[name], device[name], ranked=spec.role == "logits")
    return _judge_metrics(metrics, repeat)


def overall(verdicts: Mapping[str, OutputVerdict]) -> Verdict:
    """INVALID where any output is, then FAIL, else PASS; a comparison of nothing is INVALID."""
    found = {verdict.verdict for verdict in verdicts.values()}
    if not found or "INVALID" in found:
        return "INVALID"
    return "FAIL" if "FAIL" in found else "PASS"


def _judge_metrics(metrics: Metrics, repeat: Repeat | None) -> OutputVerdict:
    invalid = _why_invalid(metrics, repeat)
    failed, notes = _why_failed(metrics)
    within = bool(
        metrics.nonfinite.positions_agree
        and metrics.relative_l2 is not None
        and metrics.max_over_range is not None
        and metrics.relative_l2 <= ONE_PERCENT
        and metrics.max_over_range <= ONE_PERCENT
    )
    verdict: Verdict = "INVALID" if invalid else "FAIL" if failed else "PASS"
    return OutputVerdict(
        verdict=verdict,
        reasons=tuple(invalid or failed or notes),
        within_1_percent=within if not invalid else None,
        metrics=metrics,
    )


def _why_invalid(metrics: Metrics, repeat: Repeat | None) -> list[str]:
    reasons = []
    if metrics.nonfinite.reference == metrics.elements:
        reasons.append("the reference has no finite value")
    elif metrics.reference_max_abs == 0:
        reasons.append("the reference is all zero: nothing can be relative to it")
    elif metrics.reference_constant and metrics.elements > 1:
        reasons.append("all values of the reference are equal: it shows nothing")
    if repeat is not None and not repeat.bit_identical:
        allowed = max(REPEATABLE, (metrics.relative_l2 or 0.0) / 2)
        if not repeat.nonfinite_agree:
            reasons.append("two runs of the device differ in their non-finite positions")
        elif repeat.relative_l2 is None or repeat.relative_l2 > allowed:
            reasons.append(
                f"two runs of the device differ by a relative L2 of {repeat.relative_l2}, above "
                f"{allowed:.3g}: it is not repeatable"
            )
    return reasons


def _why_failed(metrics: Metrics) -> tuple[list[str], list[str]]:
    failed: list[str] = []
    notes: list[str] = []
    if not metrics.nonfinite.positions_agree:
        failed.append(
            f"non-finite values differ: {metrics.nonfinite.device} on the device, "
            f"{metrics.nonfinite.reference} in the reference"
        )
    for label, value in (
        ("relative L2", metrics.relative_l2),
        ("max|diff|/max|ref|", metrics.max_over_range),
    ):
        if value is None:
            failed.append(f"{label} could not be computed")
        elif value <= ONE_PERCENT:
            notes.append(f"{label} {value:.3g} <= {ONE_PERCENT:.0%}")
        else:
            failed.append(f"{label} {value:.3g} > {ONE_PERCENT:.0%}")
    if metrics.ranking is not None:
        disputed = metrics.ranking.disputed
        for row in disputed:
            text = f"top-1 of row {row.row} is {row.device_top1}, not {row.reference_top1}: {row}"
            (notes if row.excused else failed).append(text)
        if not disputed:
            notes.append(f"top-1 agrees in {metrics.ranking.rows} rows")
    return failed, notes


def _judge_token_ids(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
) -> OutputVerdict:
    """Ids must be equal, up to a step whose saved scores show that rounding alone may decide it."""
    ours, theirs = reference[name][0].tolist(), device[name][0].tolist()
    if not ours or not theirs:
        return _invalid("there are no token ids to compare")
    if ours == theirs:
        return OutputVerdict(
            verdict="PASS", reasons=(f"all {len(ours)} token ids are equal",), within_1_percent=None
        )
    position = next(
        (at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    text = f"token ids differ from position {position} on"
    scores = spec.scores
    step = position - 1  # position 0 is the decoder's start token, which no score chose
    if scores is None or scores not in reference or scores not in device:
        return _fail(f"{text}, and no scores were saved that could excuse it")
    steps = min(reference[scores].shape[1], device[scores].shape[1])
    if position >= min(len(ours), len(theirs)) or not 0 <= step < steps:
        return _fail(f"{text}, where only one side has a token")
    row = top1_dispute(
        reference[scores][0, step], device[scores][0, step], ours[position], theirs[position], step
    )
    text += f": {row}"
    if not row.excused:
        return _fail(text)
    return OutputVerdict(verdict="PASS", reasons=(text,), within_1_percent=None)


def _repeat(first: Tensor, second: Tensor) -> Repeat:
    import torch

    if first.shape != second.shape:
        return Repeat(bit_identical=False, relative_l2=None, nonfinite_agree=False)
    if not first.is_floating_point():
        same = bool(torch.equal(first, second))
        return Repeat(bit_identical=same, relative_l2=0.0 if same else None, nonfinite_agree=True)
    metrics = measure(first, second)
    agree = metrics.nonfinite.positions_agree
    return Repeat(
        # -0.0 and 0.0 are equal here: no figure can tell them apart either.
        bit_identical=agree and metrics.max_abs_diff in (0.0, None),
        relative_l2=0.0 if metrics.max_abs_diff == 0.0 else metrics.relative_l2,
        nonfinite_agree=agree,
        max_abs_diff=metrics.max_abs_diff,
    )


def _invalid(reason: str) -> OutputVerdict:
    return OutputVerdict(verdict="INVALID", reasons=(reason,), within_1_percent=None)


def _fail(reason: str) -> OutputVerdict:
    return OutputVerdict(verdict="FAIL", reasons=(reason,), within_1_percent=False)
