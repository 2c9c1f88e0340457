"""Every reason why a run is no evidence of a pretrained model on a real NPU, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.accuracy.judged import JudgedOutput
from kit.evidence.trust import why_no_latency
from kit.evidence.types.run import Run
from kit.evidence.types.shared import Weights
from kit.evidence.types.summary import Verdict

if TYPE_CHECKING:
    from kit.accuracy.comparison import Comparison


def find_blockers(
    run: Run | None, verdict: Verdict, comparison: Comparison | None, not_judged: str
) -> list[str]:
    """The blockers, none where the run is ready for submission; `not_judged` is why there is no
    comparison, where there is none."""
    blockers = []
    if run is None or run.status != "SUCCESS":
        blockers.append(f"the run did not succeed: status {run.status if run else 'FAILED'}")
    if verdict != "PASS":
        why = not_judged if comparison is None else why_not_passed(comparison)
        if verdict == "FAIL" and run and (broken := _broken_by_cast(run)):
            why = f"{why}; a likely cause: {broken}"
        blockers.append(f"the verdict is {verdict}" + (f": {why}" if why else ""))
    device = run.device if run else None
    if device is None or device.kind != "npu":
        blockers.append(f"the device is {device.spec if device else 'unknown'}, not an NPU")
    elif device.simulated:
        blockers.append("the NPU is simulated")
    if verdict != "INVALID":  # what cannot be trusted says nothing of weights
        blockers += _weights(run.weights if run else None)
    if verdict == "PASS" and comparison is not None:
        blockers += _beyond_1_percent(comparison)
    if run and run.latency and run.noise and (refused := why_no_latency(run.latency, run.noise)):
        blockers.append(f"there is no latency: {refused}")
    return blockers + _fallbacks(run)


def why_not_passed(comparison: Comparison) -> str:
    """The reasons of every output that did not pass; empty where all did."""
    reasons = [comparison.unsound] if comparison.unsound else []
    reasons += [
        f"{name}: {', '.join(output.reasons)}"
        for name, output in comparison.outputs.items()
        if output.verdict != "PASS"
    ]
    if comparison.samples and comparison.samples.reason:
        reasons.append(comparison.samples.reason)
    return "; ".join(reasons)


def _broken_by_cast(run: Run) -> str:
    """The weights that the cast to the run's dtype made infinite or 0; empty where none."""
    cast = run.weights.cast if run.weights else None
    if cast is None:
        return ""
    parts = []
    for what, lost in (("infinite", cast.became_infinite), ("0", cast.became_zero)):
        if lost:
            most = sorted(lost, key=lambda name: -lost[name])[:3]
            of = ", ".join(f"{lost[name]} of {name}" for name in most)
            more = f" and {len(lost) - 3} more tensors" if len(lost) > 3 else ""
            parts.append(f"the cast to {cast.dtype} made elements {what} ({of}{more})")
    return ", ".join(parts)


def within_1_percent(outputs: Mapping[str, JudgedOutput]) -> dict[str, bool | None]:
    """Whether each output that is judged by figures is within 1%: integers that are equal need none."""
    return {
        name: output.within_1_percent
        for name, output in outputs.items()
        if output.metrics is not None or output.verdict != "PASS"
    }


def _weights(weights: Weights | None) -> list[str]:
    if weights is None:
        return ["no weights were loaded"]
    if weights.fallback_used:
        return ["the weights are random: fallback_reason says why"]
    return [] if weights.pretrained_used is True else [weights.pretrained_reason]


def _beyond_1_percent(comparison: Comparison) -> list[str]:
    """What passes by limits of its model's own, and is further off than 1%."""
    far = [name for name, within in within_1_percent(comparison.outputs).items() if not within]
    samples = comparison.samples
    if samples and samples.beyond_1_percent:
        far.append(f"{samples.beyond_1_percent} of {samples.count} samples")
    return [f"not within 1%, whatever the model allows: {', '.join(far)}"] if far else []


def _fallbacks(run: Run | None) -> list[str]:
    """What fell back to the CPU in the passes and in the further samples, or why nobody could tell."""
    proof, samples = (run.device_proof, run.samples) if run else (None, None)
    watched = [each for each in (proof, samples) if each is not None]
    ops = sorted({op for each in watched for op in each.fallback_ops or ()})
    blockers = [f"operators fell back to the CPU: {', '.join(ops)}"] if ops else []
    unknown = [each.fallback_reason for each in watched if each.fallback_ops is None]
    if proof is None:
        blockers.append("CPU fallback was not watched")
    return blockers + [reason for reason in unknown[:1] if reason]
