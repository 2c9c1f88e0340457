"""Every reason why a run is no evidence of a pretrained model on a real NPU, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.accuracy.judged import JudgedOutput
from kit.evidence.flag_claims import why_not_believed
from kit.evidence.trust import why_no_latency
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.run import Run
from kit.evidence.types.shared import Weights
from kit.evidence.types.summary import Verdict
from kit.words import Reason

if TYPE_CHECKING:
    from kit.accuracy.comparison import Comparison


def find_blockers(
    run: Run | None, verdict: Verdict, comparison: Comparison | None, not_judged: Reason
) -> list[Reason]:
    """The blockers, none where the run is ready for submission; `not_judged` is why there is no
    comparison, where there is none."""
    blockers: list[Reason] = []
    if run is None or run.status != "SUCCESS":
        blockers.append(Reason("status", status=run.status if run else "FAILED"))
    if verdict != "PASS":
        why = not_judged if comparison is None else why_not_passed(comparison)
        causes = _broken_by_cast(run) if verdict == "FAIL" and run else []
        likely = [Reason("likely_cause", cause=causes)] if causes else []
        if whys := [*([why] if why else []), *likely]:
            blockers.append(Reason("verdict_why", verdict=verdict, why=whys))
        else:
            blockers.append(Reason("verdict", verdict=verdict))
    device = run.device if run else None
    if device is None or device.kind != "npu":
        blockers.append(Reason("no_npu", device=device.spec) if device else Reason("no_device"))
    elif device.simulated:
        blockers.append(Reason("simulated"))
    if verdict != "INVALID":  # what cannot be trusted says nothing of weights
        blockers += _weights(run.weights if run else None)
    if verdict == "PASS" and comparison is not None:
        blockers += _beyond_1_percent(comparison)
    probed = run.device_proof.arithmetic if run and run.device_proof else None
    if probed is not None and device is not None:
        blockers += why_not_believed(device.kind, probed)
    if run and run.latency and run.noise and (refused := why_no_latency(run.latency, run.noise)):
        blockers.append(Reason("no_latency", why=refused))
    return blockers + _fallbacks(run)


def unexplained(explanation: Explanation) -> list[Reason]:
    """What looks like a wrong operator, whatever the verdict."""
    found = [
        Reason("unexplained_output", output=name)
        for name, output in explanation.outputs.items()
        if output.unexplained
    ]
    if bad := explanation.first_bad_module:
        found.append(Reason("unexplained_module", module=bad.name, kind=bad.kind))
    return found


def why_not_passed(comparison: Comparison) -> Reason | None:
    """The reasons of every output that did not pass; None where all did."""
    reasons: list[str] = [comparison.unsound] if comparison.unsound else []
    reasons += [
        Reason("output", output=name, why=output.reasons)
        for name, output in comparison.outputs.items()
        if output.verdict != "PASS"
    ]
    if comparison.samples and comparison.samples.reason:
        reasons.append(comparison.samples.reason)
    return Reason("several", all=reasons) if reasons else None


def _broken_by_cast(run: Run) -> list[Reason]:
    """The weights that the cast to the run's dtype made infinite or 0."""
    cast = run.weights.cast if run.weights else None
    if cast is None:
        return []
    parts = []
    for what, lost in (("infinite", cast.became_infinite), ("0", cast.became_zero)):
        if lost:
            most = sorted(lost, key=lambda name: -lost[name])[:3]
            of = [Reason("lost", count=lost[name], tensor=name) for name in most]
            if len(lost) > 3:
                last, more = most[-1], len(lost) - 3
                of[-1] = Reason("lost_more", count=lost[last], tensor=last, more=more)
            parts.append(Reason("became", dtype=cast.dtype, what=what, of=of))
    return parts


def within_1_percent(outputs: Mapping[str, JudgedOutput]) -> dict[str, bool | None]:
    """Whether each output that is judged by figures is within 1%: integers that are equal need none."""
    return {
        name: output.within_1_percent
        for name, output in outputs.items()
        if output.metrics is not None or output.verdict != "PASS"
    }


def _weights(weights: Weights | None) -> list[Reason]:
    if weights is None:
        return [Reason("no_weights")]
    if weights.fallback_used:
        return [Reason("random")]
    return [] if weights.pretrained_used is True else [weights.pretrained_reason]


def _beyond_1_percent(comparison: Comparison) -> list[Reason]:
    """What passes by limits of its model's own, and is further off than 1%."""
    far = [name for name, within in within_1_percent(comparison.outputs).items() if not within]
    samples = comparison.samples
    if samples and samples.beyond_1_percent:
        far.append(Reason("beyond_samples", beyond=samples.beyond_1_percent, count=samples.count))
    return [Reason("beyond", what=far)] if far else []


def _fallbacks(run: Run | None) -> list[Reason]:
    """What fell back to the CPU in the passes and in the further samples, or why nobody could tell."""
    proof, samples = (run.device_proof, run.samples) if run else (None, None)
    watched = [each for each in (proof, samples) if each is not None]
    ops = sorted({op for each in watched for op in each.fallback_ops or ()})
    blockers = [Reason("fell_back", operators=ops)] if ops else []
    unknown = [each.fallback_reason for each in watched if each.fallback_ops is None]
    if proof is None:
        blockers.append(Reason("not_watched"))
    return blockers + [reason for reason in unknown[:1] if reason]
