"""A device's outputs against the reference's: every output judged, and the text of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.accuracy.documented import written
from kit.accuracy.outcome import OutputVerdict
from kit.accuracy.readings import Reading, read, worst
from kit.accuracy.repeats import Repeat, unrepeatable
from kit.accuracy.spec import OutputSpec
from kit.accuracy.truth import against_truth
from kit.accuracy.verdict import judge_outputs, overall

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference's outputs (CPU, fp32), its second run's difference, and the fp64 golden's outputs,
    empty with `golden_reason` where it was left out. `samples` are the files of its further samples,
    `environment` is that of the machine it ran on, None where nobody knows."""

    outputs: Mapping[str, Tensor]
    repeats: Mapping[str, Repeat]
    golden: Mapping[str, Tensor]
    golden_reason: str | None
    samples: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] | None = None


def compare(
    specs: Mapping[str, OutputSpec],
    reference: Reference,
    device: Mapping[str, Tensor],
    device_repeats: Mapping[str, Repeat],
) -> dict[str, Any]:
    """The comparison that summarise() takes. All tensors are on the CPU."""
    verdicts = judge_outputs(specs, reference.outputs, device, device_repeats, reference.golden)
    readings = {
        name: read(found.metrics)
        for name, found in verdicts.items()
        if found.metrics and not found.blank
    }
    unsound = why_unsound(reference.repeats, verdicts)
    return {
        "verdict": "INVALID" if unsound else overall(verdicts),
        "reason": unsound,
        "reference_device": "cpu",
        "reference_repeat": {name: written(repeat) for name, repeat in reference.repeats.items()},
        "golden": {"used": bool(reference.golden), "reason": reference.golden_reason},
        "readings": {name: written(reading) for name, reading in worst(readings).items()},
        "outputs": {
            name: {
                "role": specs[name].role,
                "thresholds": written(specs[name].thresholds),
                **_described(verdict),
                "readings": described_readings(readings.get(name)),
                "truth": _truth(name, reference, device),
            }
            for name, verdict in verdicts.items()
        },
    }


def why_unsound(repeats: Mapping[str, Repeat], verdicts: Mapping[str, OutputVerdict]) -> str | None:
    """Where two runs of the reference differ beyond what is allowed; None where they do not."""
    unsound = [
        f"the reference is not repeatable: {name}, {problem}"
        for name, repeat in repeats.items()
        if (problem := unrepeatable(repeat, _error_of(verdicts.get(name))))
    ]
    return "; ".join(unsound) or None


def described_readings(readings: Mapping[str, Reading] | None) -> dict[str, Any] | None:
    """The readings of one output as the summary has them; None where it has no metrics."""
    if readings is None:
        return None
    return {
        name: {"figures": dict(found.figures), "within": found.within}
        for name, found in readings.items()
    }


def _truth(name: str, reference: Reference, device: Mapping[str, Tensor]) -> dict[str, Any] | None:
    truth = against_truth(name, reference.golden, reference.outputs, device)
    return None if truth is None else written(truth)


def _error_of(verdict: OutputVerdict | None) -> float | None:
    return verdict.metrics.relative_l2 if verdict and verdict.metrics else None


def comparison_text(summary: Mapping[str, Any]) -> str:
    """accuracy_compare.log: the headline figures, then every figure of every output."""
    headline = (
        "model device device_name reference_device pretrained_used weight_path input output_shape "
        "max_abs_diff mean_abs_diff cosine_similarity top1_match top5_match "
        "torch_allclose_atol_5e-2_rtol_1e-2 match_within_1_percent match_basis latency_ms "
        "npu_latency_ms verdict submission_ready"
    )
    reasons = summary["null_reasons"]
    lines = []
    for name in headline.split():
        value = summary[name]
        lines.append(f"{name}: {f'not measured: {reasons[name]}' if value is None else value}")
    lines += [f"submission_blocker: {blocker}" for blocker in summary["submission_blockers"]]
    lines += samples_text(summary["samples"])
    for name, output in summary["outputs"].items():
        lines += ["", f"output {name} ({output['role']}): {output['verdict']}"]
        lines += [f"  because: {reason}" for reason in output["reasons"]]
        lines += [f"  {figure}: {value}" for figure, value in (output["metrics"] or {}).items()]
    return "\n".join(lines) + "\n"


def samples_text(samples: Mapping[str, Any] | None) -> list[str]:
    """A few lines on the further samples; none where there are none."""
    if samples is None:
        return []
    lines = [f"{samples['passed']} of {samples['count']} samples pass: {samples['verdict']}"]
    if samples["reason"]:
        lines.append(f"  because: {samples['reason']}")
    for name, output in samples["outputs"].items():
        figures = ", ".join(
            f"{figure} {value:.3g}" for figure, value in output.items() if isinstance(value, float)
        )
        worst = output["worst"]
        lines.append(f"  {name}: {figures}; worst {worst['sample']!r} ({worst['relative_l2']})")
    if top1 := samples["top1"]:
        lines.append(
            f"  top-1 of {top1['output']} agrees in {top1['agree']} of {top1['count']}: rate "
            f"{top1['rate']:.4f}, 95% interval (Wilson) {top1['low']:.4f} to {top1['high']:.4f}"
        )
    return lines


def _described(verdict: OutputVerdict) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "within_1_percent": verdict.within_1_percent,
        "blank": verdict.blank,
        "metrics": written(verdict.metrics),
    }
