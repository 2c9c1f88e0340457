"""Every reason why a run is no evidence of a pretrained model on a real NPU, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.evidence.types.run import Run
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
    device, weights = (run.device, run.weights) if run else (None, None)
    if device is None or device.kind != "npu":
        blockers.append(f"the device is {device.spec if device else 'unknown'}, not an NPU")
    elif device.simulated:
        blockers.append("the NPU is simulated")
    if weights is None:
        blockers.append("no weights were loaded")
    elif weights.fallback_used:
        blockers.append("the weights are random: fallback_reason says why")
    elif weights.pretrained_used is not True:
        blockers.append(weights.pretrained_reason)
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


def _fallbacks(run: Run | None) -> list[str]:
    """What fell back to the CPU in the first pass and in the further samples, or why nobody could tell."""
    proof, samples = (run.device_proof, run.samples) if run else (None, None)
    watched = [each for each in (proof, samples) if each is not None]
    ops = sorted({op for each in watched for op in each.fallback_ops or ()})
    blockers = [f"operators fell back to the CPU: {', '.join(ops)}"] if ops else []
    unknown = [each.fallback_reason for each in watched if each.fallback_ops is None]
    if proof is None:
        blockers.append("CPU fallback was not watched")
    return blockers + [reason for reason in unknown[:1] if reason]
