"""A device's outputs against the reference's: every output judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.accuracy.dtypes import is_exact
from kit.accuracy.further import Further, measure_further
from kit.accuracy.golden import AgainstGolden, against_golden
from kit.accuracy.judged import JudgedOutput
from kit.accuracy.judged_samples import JudgedSamples
from kit.accuracy.outcome import OutputVerdict, Verdict
from kit.accuracy.readings import Readings, read, worst
from kit.accuracy.repeats import Repeat, unrepeatable
from kit.accuracy.spec import OutputSpec
from kit.accuracy.trace import Trace, follow
from kit.accuracy.verdict import judge_outputs, overall
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference's outputs (CPU, fp32), its second run's difference, and the golden's outputs,
    empty with `golden_reason` where it was left out. `forward_seconds` is what the one forward took in
    fp32, None where it was not run here."""

    outputs: Mapping[str, Tensor]
    repeats: Mapping[str, Repeat]
    golden: Mapping[str, Tensor]
    golden_reason: Reason | None
    forward_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found. `unsound` says why the reference itself cannot be relied on, None where
    it can; `samples` are the further samples, None where there are none."""

    verdict: Verdict
    unsound: Reason | None
    outputs: Mapping[str, JudgedOutput]
    readings: Readings
    trace: Trace | None
    reference_repeat: Mapping[str, Repeat]
    samples: JudgedSamples | None


def compare(
    specs: Mapping[str, OutputSpec],
    reference: Reference,
    device: Mapping[str, Tensor],
    device_repeats: Mapping[str, Repeat],
    samples: JudgedSamples | None = None,
    *,
    hf32: bool = False,
    dtype: str = "float32",
) -> Comparison:
    """Judge every output of `specs` but the step scores. All tensors are on the CPU. `hf32`: the device's
    convolutions or matrix products were told to use it; `dtype`: what the run was in, by torch's name."""
    verdicts = judge_outputs(specs, reference.outputs, device, device_repeats, reference.golden)
    errors = {
        name: against_golden(name, reference.golden, reference.outputs, device) for name in verdicts
    }
    further = {
        name: _further(specs[name], found, reference, device.get(name), name)
        for name, found in verdicts.items()
    }
    trace = follow(reference.outputs, device, dtype)
    return conclude(
        specs, verdicts, errors, further, reference.repeats, samples, hf32=hf32, trace=trace
    )


def _further(
    spec: OutputSpec,
    found: OutputVerdict,
    reference: Reference,
    device: Tensor | None,
    name: str,
) -> Further | None:
    """The further figures of an output whose sides compare."""
    ours = reference.outputs.get(name)
    if ours is None or device is None or ours.shape != device.shape or not ours.numel():
        return None
    if found.metrics is None and not (is_exact(ours) and is_exact(device)):
        return None
    return measure_further(
        ours,
        device,
        reference.golden.get(name),
        ranked=spec.role == "logits",
        ids=spec.role == "token_ids",
    )


def conclude(
    specs: Mapping[str, OutputSpec],
    verdicts: Mapping[str, OutputVerdict],
    errors: Mapping[str, AgainstGolden | None],
    further: Mapping[str, Further | None],
    reference_repeat: Mapping[str, Repeat],
    samples: JudgedSamples | None,
    *,
    hf32: bool,
    trace: Trace | None,
) -> Comparison:
    """The comparison that follows from what was found of each output."""
    readings = {
        name: read(found.metrics, further[name], hf32=hf32)
        for name, found in verdicts.items()
        if (found.metrics or further[name]) and not found.blank
    }
    unsound = _why_unsound(reference_repeat, verdicts)
    found = {"INVALID" if unsound else overall(verdicts), samples.verdict if samples else "PASS"}
    return Comparison(
        verdict=max(found, key=("PASS", "FAIL", "INVALID").index),
        unsound=unsound,
        outputs={
            name: JudgedOutput(
                role=specs[name].role,
                thresholds=specs[name].thresholds,
                verdict=verdict.verdict,
                reasons=[Reason.said(reason) for reason in verdict.reasons],
                within_1_percent=verdict.within_1_percent,
                blank=verdict.blank,
                metrics=verdict.metrics,
                further=further[name],
                readings=readings.get(name),
                truth=errors[name],
            )
            for name, verdict in verdicts.items()
        },
        readings=worst(readings),
        trace=trace,
        reference_repeat=reference_repeat,
        samples=samples,
    )


def _why_unsound(
    repeats: Mapping[str, Repeat], verdicts: Mapping[str, OutputVerdict]
) -> Reason | None:
    """Where two runs of the reference differ beyond what is allowed; None where they do not."""
    unsound = [
        Reason("unsound", output=name, problem=problem)
        for name, repeat in repeats.items()
        if (problem := unrepeatable(repeat, _error_of(verdicts.get(name))))
    ]
    return Reason("several", all=unsound) if unsound else None


def _error_of(verdict: OutputVerdict | None) -> float | None:
    return verdict.metrics.relative_l2 if verdict and verdict.metrics else None
