"""accuracy_compare.log, and what the console says of a comparison."""

from __future__ import annotations

from kit.accuracy.judged_samples import JudgedSamples
from kit.accuracy.table import outputs_table
from kit.accuracy.trace import Trace
from kit.documented import written
from kit.evidence.explanation_text import explanation_text
from kit.evidence.layers import layers_table, read_layers
from kit.evidence.logs import Logs
from kit.evidence.summary import explanation_of
from kit.evidence.types.summary import Summary


def comparison_text(summary: Summary, logs: Logs) -> str:
    """accuracy_compare.log: the headline figures, then every figure of every output, and of `logs` the
    worst module calls, where there are any."""
    headline = (
        "model device device_name reference_device pretrained_used weight_path input output_shape "
        "max_abs_diff mean_abs_diff cosine_similarity top1_match top5_match "
        "torch_allclose_atol_5e-2_rtol_1e-2 match_within_1_percent match_basis latency_ms "
        "npu_latency_ms verdict submission_ready"
    )
    told = written(summary)
    lines = []
    for name in headline.split():
        value = told[name]
        lines.append(
            f"{name}: {f'not measured: {summary.null_reasons[name]}' if value is None else value}"
        )
    lines += [f"submission_blocker: {blocker}" for blocker in summary.submission_blockers]
    lines += samples_text(summary.samples)
    lines += trace_text(summary.trace)
    lines += explanation_text(explanation_of(summary))
    for name, output in (summary.outputs or {}).items():
        lines += ["", f"output {name} ({output.role}): {output.verdict}"]
        lines += [f"  because: {reason}" for reason in output.reasons]
        lines += [
            f"  {figure}: {value}" for figure, value in (written(output.metrics) or {}).items()
        ]
    if summary.explanation and (described := summary.explanation.layers):
        lines += ["", *layers_table(read_layers(logs, described))]
    return "\n".join(lines) + "\n"


def what_was_found(summary: Summary) -> list[str]:
    """The console's lines: a table of the outputs, the text step by step, the samples, the explanation."""
    return [
        *outputs_table(summary.outputs or {}),
        *trace_text(summary.trace),
        *samples_text(summary.samples),
        *explanation_text(explanation_of(summary)),
    ]


def trace_text(trace: Trace | None) -> list[str]:
    """Where the steps of a text leave the CPU's first; nothing where there are none."""
    if trace is None:
        return []
    if trace.first_bad is None:
        return [f"text step by step: all {len(trace.steps)} steps are good"]
    step = trace.steps[trace.first_bad]
    return [
        f"text step by step: the first bad one is step {trace.first_bad} of {len(trace.steps)} "
        f"({trace.fault}): relative L2 {step.relative_l2}, divergence {step.divergence} nats, the CPU's "
        f"token is the device's number {step.rank}, the CPU's margin {step.margin}"
    ]


def samples_text(samples: JudgedSamples | None) -> list[str]:
    """A few lines on the further samples; none where there are none."""
    if samples is None:
        return []
    lines = [f"{samples.passed} of {samples.count} samples pass: {samples.verdict}"]
    if samples.reason:
        lines.append(f"  because: {samples.reason}")
    for name, output in samples.outputs.items():
        figures = ", ".join(
            f"{figure} {value:.3g}"
            for figure, value in written(output).items()
            if isinstance(value, float)
        )
        lines.append(
            f"  {name}: {figures}; worst {output.worst.sample!r} ({output.worst.relative_l2})"
        )
    if top1 := samples.top1:
        lines.append(
            f"  top-1 of {top1.output} agrees in {top1.agree} of {top1.count}: rate "
            f"{top1.rate:.4f}, 95% interval (Wilson) {top1.low:.4f} to {top1.high:.4f}"
        )
    return lines
