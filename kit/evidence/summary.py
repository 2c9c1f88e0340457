"""summary.json: what the record and the comparison say, under the names that reports use.

It follows from the two and from nothing else. A figure that is absent is null, and null_reasons says
why; nothing is guessed, and a CPU or simulated run never gives an NPU figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

import kit
from kit.accuracy.judged import JudgedOutput
from kit.accuracy.part import part_name
from kit.accuracy.thresholds import ONE_PERCENT
from kit.evidence.blockers import (
    find_blockers,
    unexplained,
    why_not_passed,
    within_1_percent,
)
from kit.evidence.schema import SCHEMA_VERSION
from kit.evidence.trust import why_no_latency
from kit.evidence.types.asked import DeclaredModel
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.run import ChosenDevice, Run
from kit.evidence.types.shared import Weights
from kit.evidence.types.summary import Noise, SavedReference, Summary, Verdict
from kit.words import Reason

if TYPE_CHECKING:
    from kit.accuracy.comparison import Comparison

_NO_WEIGHTS = dict.fromkeys(
    (
        "pretrained_used",
        "local_weight_used",
        "weight_path",
        "fallback_used",
        "fallback_reason",
        "weights",
    )
)
_COMPARED = (
    "reference_device",
    "max_abs_diff",
    "mean_abs_diff",
    "cosine_similarity",
    "top1_match",
    "top5_match",
    "torch_allclose_atol_5e_2_rtol_1e_2",
    "match_within_1_percent",
    "match_basis",
    "readings_of_1_percent",
    "reference",
    "outputs",
    "trace",
)


class _Fields:
    """The fields of a summary as they become known, and why those that are null are."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, Reason] = {}

    def put(self, why: Reason | None = None, /, **fields: Any) -> None:
        """Take in fields; `why` is of those of them that are None: where nothing is said, the run ended
        before."""
        why = why or Reason("not_reached")
        self.values |= fields
        self.reasons |= {_JSON_NAMES[name]: why for name, value in fields.items() if value is None}

    def summary(self, why: Reason) -> Summary:
        """The summary; what no one has put is null, and `why` says why."""
        self.put(why, **dict.fromkeys(name for name in _JSON_NAMES if name not in self.values))
        return Summary(**self.values, null_reasons=self.reasons, reason_codes={})


_JSON_NAMES = {
    field.name: field.encode_name
    for field in msgspec.structs.fields(Summary)
    if field.name not in ("null_reasons", "reason_codes")
}


def summarise(
    run: Run | None,
    comparison: Comparison | None = None,
    reference: SavedReference | None = None,
    explanation: Explanation | Reason | None = None,
    *,
    invalid: Reason | None = None,
) -> Summary:
    """The summary of a run, and of its comparison with the saved `reference` where there is one; its
    `explanation`, or why it has none.

    `run` is None where run.json cannot be read. `invalid` is why the evidence cannot be trusted.
    """
    if run and run.error and run.error.exit_code == 4:
        invalid = invalid or run.error.message
    verdict = _verdict(run, comparison, invalid)
    not_judged = Reason.said(invalid) if invalid else Reason("not_compared")
    blockers = find_blockers(run, verdict, comparison, not_judged)
    if isinstance(explanation, Explanation):
        blockers += unexplained(explanation)
    fields = _Fields()
    fields.put(
        schema_version=SCHEMA_VERSION,
        kit_version=kit.__version__,
        status=run.status if run else "FAILED",
        verdict=verdict,
        submission_blockers=blockers,
        submission_ready=not blockers,
    )
    if comparison is None or explanation is None:
        fields.put(not_judged, explanation=None)
    elif isinstance(explanation, Reason):
        fields.put(explanation, explanation=None)
    else:
        fields.put(explanation=explanation)
    if run is not None:
        _what_was_asked(fields, run)
        _what_ran(fields, run)
        if verdict == "INVALID":
            fields.put(Reason("invalid"), **_NO_WEIGHTS)
        elif run.weights:
            _which_weights(fields, run.weights)
    if run is None or comparison is None or reference is None:
        fields.put(not_judged, **dict.fromkeys(_COMPARED))
        if "samples" not in fields.values:
            fields.put(not_judged, samples=None)
    else:
        _what_was_compared(fields, run.model, comparison, reference)
    if run and run.noise:
        repeat = dict(comparison.reference_repeat) if comparison else None
        fields.put(
            noise=Noise(
                device_repeat=run.noise.device_repeat,
                timed_repeat=run.noise.timed_repeat,
                reference_repeat=repeat,
            )
        )
    return fields.summary(Reason("not_reached") if run else Reason("no_record", why=str(invalid)))


def explanation_of(summary: Summary) -> Explanation | Reason | None:
    """What a summary has of it: the explanation, or why there is none."""
    return summary.explanation or summary.null_reasons.get("explanation")


def ranked_output(model: DeclaredModel) -> str | None:
    """The output whose top-1 and top-5 mean something: the primary one if it is logits, else the
    first that is; None where the model has none."""
    logits = [name for name, spec in model.outputs.items() if spec.role == "logits"]
    return model.primary_output if model.primary_output in logits else next(iter(logits), None)


def _what_was_asked(fields: _Fields, run: Run) -> None:
    model = run.model
    fields.put(
        model=model.name,
        task=model.task,
        primary_output=model.primary_output,
        started_at=run.started_at,
        dtype=run.arguments.dtype,
    )
    fields.put(
        Reason("no_repository"),
        vendor=model.vendor,
        source_url=model.source_url,
        revision=model.revision,
    )
    fields.put(Reason("no_attention") if run.outputs else None, attention=model.attention)
    if run.arguments.data is None:
        fields.put(Reason("no_data"), samples=None)


def _what_ran(fields: _Fields, run: Run) -> None:
    if device := run.device:
        real_npu = device.kind == "npu" and not device.simulated
        fields.put(
            device=device.spec,
            simulated=device.simulated,
            device_name=device.name,
            device_count=device.count,
        )
        fields.put(
            Reason("no_version" if real_npu else "no_cann"),
            cann_version=device.cann_version,
        )
        refused = why_no_latency(run.latency, run.noise) if run.latency and run.noise else None
        latency = None if refused else run.latency
        mean_ms = latency.mean_ms if latency else None
        fields.put(refused, latency=latency, latency_ms=mean_ms)
        fields.put(
            refused if real_npu else _why_no_npu(device),
            npu_latency_ms=mean_ms if real_npu else None,
        )
    if run.input:
        fields.put(input=run.input.description)
        fields.put(Reason("no_text"), input_tokens=run.input.input_tokens)
        fields.put(Reason("no_decoder_input"), decoder_input=run.input.decoder_input)
    if run.outputs and (primary := run.outputs.get(run.model.primary_output or "")):
        fields.put(output_shape=primary.shape)
    fields.put(
        environment=run.environment,
        precision=run.precision,
        device_proof=run.device_proof,
    )


def _why_no_npu(device: ChosenDevice) -> Reason:
    return Reason("simulation") if device.simulated else Reason("no_npu", device=device.spec)


def _which_weights(fields: _Fields, weights: Weights) -> None:
    fields.put(
        weights=weights,
        local_weight_used=weights.local_weight_used,
        fallback_used=weights.fallback_used,
    )
    fields.put(weights.pretrained_reason, pretrained_used=weights.pretrained_used)
    fields.put(Reason("no_weights_file"), weight_path=weights.weight_path)
    fields.put(Reason("no_fallback"), fallback_reason=weights.fallback_reason)


def _what_was_compared(
    fields: _Fields, model: DeclaredModel, comparison: Comparison, reference: SavedReference
) -> None:
    outputs = comparison.outputs
    primary, ranked = outputs[model.primary_output or ""].metrics, ranked_output(model)
    ranking = metrics.ranking if ranked and (metrics := outputs[ranked].metrics) else None
    undecided = why_not_passed(comparison) or Reason("not_needed")
    judged = within_1_percent(outputs).values()
    within = None if not judged or None in judged else all(judged)
    fields.put(
        undecided,
        max_abs_diff=primary.max_abs_diff if primary else None,
        mean_abs_diff=primary.mean_abs_diff if primary else None,
        cosine_similarity=primary.cosine_similarity if primary else None,
        torch_allclose_atol_5e_2_rtol_1e_2=primary.allclose if primary else None,
        match_within_1_percent=within,
        match_basis=None if within is None else _basis(outputs),
    )
    fields.put(
        undecided if ranked else Reason("no_ranking"),
        top1_match=ranking.top1_agree == ranking.rows if ranking else None,
        top5_match=ranking.top5_agree == ranking.rows if ranking else None,
    )
    fields.put(Reason("no_trace"), trace=comparison.trace)
    fields.put(
        reference_device="cpu",
        readings_of_1_percent=comparison.readings,
        reference=reference,
        outputs=dict(outputs),
    )
    if comparison.samples:
        fields.put(samples=comparison.samples)


def _basis(outputs: Mapping[str, JudgedOutput]) -> Reason:
    largest = [_largest(outputs, figure) for figure in ("relative_l2", "max_over_range")]
    own = [
        Reason("other_limits", output=name, why=output.thresholds.reason)
        for name, output in outputs.items()
        if output.thresholds.reason
    ]
    parts = [
        Reason("part_beyond", output=name, parts=found)
        for name, output in outputs.items()
        if (found := _parts_beyond(output))
    ]
    basis = Reason("basis", relative_l2=largest[0], max_over_range=largest[1])
    return Reason("several", all=[basis, *parts, *own])


def _parts_beyond(output: JudgedOutput) -> list[Reason]:
    """The parts of an output that withhold the 1%, each with its own relative L2."""
    if output.metrics is None:
        return []
    return [
        Reason("a_part", part=part_name(name), distance=part.distance)
        for name, part in output.metrics.parts.counting.items()
        if part.distance > ONE_PERCENT
    ]


def _largest(outputs: Mapping[str, JudgedOutput], figure: str) -> str:
    figures = {
        name: getattr(output.metrics, figure) for name, output in outputs.items() if output.metrics
    }
    if unknown := [name for name, value in figures.items() if value is None]:
        return Reason("not_computable", outputs=unknown)
    name = max(figures, key=lambda name: figures[name])
    return f"{figures[name]:.3g} ({name})"


def _verdict(run: Run | None, comparison: Comparison | None, invalid: str | None) -> Verdict:
    if invalid:
        return "INVALID"
    if run is None or comparison is None:
        return "NOT_COMPARED"
    # Device and reference both being CPU shows that the scripts work, and nothing about a device.
    on_cpu = run.device is not None and run.device.kind == "cpu"
    return "SELF_CHECK" if on_cpu and comparison.verdict == "PASS" else comparison.verdict
