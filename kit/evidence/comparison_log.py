"""accuracy_compare.log, and what the console says of a comparison."""

from __future__ import annotations

from kit.accuracy.judged_samples import JudgedSamples
from kit.accuracy.table import outputs_table
from kit.accuracy.trace import Trace
from kit.documented import written
from kit.errors import some
from kit.evidence.layers import layers_table, read_layers
from kit.evidence.logs import MODULE_CALLS, Logs
from kit.evidence.summary import explanation_of
from kit.evidence.types.explanation import ExplainedOutput, Explanation, FoundBehaviour
from kit.evidence.types.summary import Summary
from kit.words import Reason

_NAMED = 8  # modules of a cure that are named here; summary.json has all


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


def explanation_text(explanation: Explanation | Reason | None) -> list[str]:
    """What explains the error: every output's, then every behaviour, in a few lines; what has no
    explanation comes loudly."""
    if not isinstance(explanation, Explanation):
        return [f"the difference is not explained: {explanation}"] if explanation else []
    if explanation.not_attributed:
        return [
            f"the difference is not explained: {explanation.not_attributed}",
            *_located(explanation),
        ]
    lines = ["what explains the difference (relative L2 against the golden):"]
    lines += [f"  {name}: {_explained(output)}" for name, output in explanation.outputs.items()]
    lines += [f"  {each.name}: {_found(each)}" for each in explanation.behaviours]
    lines += [
        f"  UNEXPLAINED: the error of {name} is far above what this arithmetic gives, as of a wrong "
        "operator, whatever the verdict says"
        for name, output in explanation.outputs.items()
        if output.unexplained
    ]
    return lines + _located(explanation)


def _explained(output: ExplainedOutput) -> str:
    text = f"{output.observed_relative_l2:.3g}, predicted {output.predicted_relative_l2:.3g}"
    if output.observed_over_predicted is not None:
        text += f" (observed/predicted {output.observed_over_predicted:.2f})"
    text += f", CPU fp32 {output.fp32_relative_l2:.3g}"
    if output.explained_share is not None:
        text += f"; what was found explains {output.explained_share:.0%}"
    return text


def _found(behaviour: FoundBehaviour) -> str:
    flags = {True: "on", False: "off", None: "unknown"}[behaviour.active]
    if not behaviour.identifiable:
        return f"not identifiable here ({behaviour.why}); by the flags it is {flags}"
    text = "found" if behaviour.found else "not found"
    text += f", by the flags {flags}"
    if behaviour.found and behaviour.active is False:
        text = f"{text.upper()}: the flags are not what the device does"
    elif behaviour.active and not behaviour.found:
        text += ": they allow it, and the device did without it here"
    if behaviour.relative_l2_without is None:
        return text
    without = ", ".join(f"{name} {x:.3g}" for name, x in behaviour.relative_l2_without.items())
    return f"{text}; {behaviour.switch or 'nothing'} removes it: then expect {without}"


def _located(explanation: Explanation) -> list[str]:
    """The first bad module; nothing where none was looked for."""
    bad, reason = explanation.first_bad_module, explanation.first_bad_module_reason
    if explanation.layers is None:
        sought = reason is not None and reason.code != "not_localised"
        return [f"  no first bad module: {reason}"] if sought else []
    read = explanation.layers.recorded is True
    side = [f"  the device's side was read from {MODULE_CALLS}"] if read else []
    if bad is None:
        return [*side, f"  {reason}", *_cure(explanation)]
    names = sorted({operator.name for operator in bad.operators})
    lines = [
        *side,
        f"  UNEXPLAINED: FIRST BAD MODULE {bad.name} ({bad.kind}, call {bad.call}): its own error is "
        f"{_figure(bad.own_relative_l2)}, {_figure(bad.over_band)} times what the device's arithmetic "
        f"explains, whatever the verdict says; operators: {', '.join(names) or 'unknown'}",
    ]
    if wrong := bad.wrong_operator:
        shapes = ", ".join("x".join(map(str, shape)) for shape in wrong.shapes)
        lines.append(
            f"    the wrong operator is {wrong.name} of {shapes}: relative L2 "
            f"{_figure(wrong.own_relative_l2)}, at most {_figure(wrong.explained_up_to)}"
        )
    shown = f"{bad.reproduction} shows it: exit code 1 while the fault is there"
    lines.append(f"    {shown if bad.reproduction else bad.reproduction_reason}")
    return lines + _cure(explanation)


def _cure(explanation: Explanation) -> list[str]:
    """What would make a FAIL pass."""
    cure = explanation.cheapest_cure
    why = explanation.cheapest_cure_reason
    if cure is None:
        passed = why is not None and why.code == "nothing_to_cure"
        return [] if passed else [f"  no cheapest cure: {why}"]
    how = {"strict": "strictly", "cpu": "on the CPU in fp32"}[cure.way]
    names = some(cure.modules, _NAMED)
    errors = ", ".join(f"{name} {_figure(value)}" for name, value in cure.relative_l2.items())
    return [
        f"  CHEAPEST CURE: with {len(cure.modules)} module(s) run {how} it passes, as a run on the device "
        f"showed: {names}",
        f"    then expect a relative L2 of {errors}",
    ]


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
