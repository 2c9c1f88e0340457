"""A device's outputs against the reference's: every output judged, and the text of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kit.accuracy.verdict import OutputVerdict, Repeat, compare_runs, judge_output, overall
from kit.adapter import OutputSpec

if TYPE_CHECKING:
    from torch import Tensor


def compare(
    specs: Mapping[str, OutputSpec],
    reference: Mapping[str, Tensor],
    reference_again: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    device_repeat: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The comparison that summarise() takes. All tensors are on the CPU.

    `device_repeat` is the record's: how the device's two runs differ.
    """
    verdicts = {
        name: judge_output(
            name,
            spec,
            reference,
            device,
            Repeat(**device_repeat[name]) if name in device_repeat else None,
        )
        for name, spec in specs.items()
        if spec.role != "step_scores"
    }
    repeats = compare_runs(reference, reference_again)
    unrepeatable = [name for name, repeat in repeats.items() if not repeat.bit_identical]
    return {
        # The CPU runs the same operators in the same order: it is repeatable to the bit or not sound.
        "verdict": "INVALID" if unrepeatable else overall(verdicts),
        "reason": f"the reference is not repeatable: {', '.join(unrepeatable)}"
        if unrepeatable
        else None,
        "reference_device": "cpu",
        "reference_repeat": {name: asdict(repeat) for name, repeat in repeats.items()},
        "outputs": {
            name: {"role": specs[name].role, **_described(verdict)}
            for name, verdict in verdicts.items()
        },
    }


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
    for name, output in summary["outputs"].items():
        lines += ["", f"output {name} ({output['role']}): {output['verdict']}"]
        lines += [f"  because: {reason}" for reason in output["reasons"]]
        lines += [f"  {figure}: {value}" for figure, value in (output["metrics"] or {}).items()]
    return "\n".join(lines) + "\n"


def _described(verdict: OutputVerdict) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "within_1_percent": verdict.within_1_percent,
        "metrics": _json_ready(asdict(verdict.metrics)) if verdict.metrics else None,
    }


def _json_ready(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    return [_json_ready(item) for item in value] if isinstance(value, (list, tuple)) else value
