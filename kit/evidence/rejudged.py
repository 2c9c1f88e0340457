"""The comparison that a summary came from, judged again from the figures that the summary has.

No tensor is read: what follows from the figures (verdicts, reasons, readings) is computed anew, the
figures themselves are taken as they are. kit/evidence/invariants.py says whether those can be.
"""

from __future__ import annotations

import msgspec

from kit.accuracy.comparison import Comparison, conclude
from kit.accuracy.judged import JudgedOutput
from kit.accuracy.judged_figures import judge_metrics
from kit.accuracy.outcome import OutputVerdict
from kit.accuracy.repeats import Repeat
from kit.accuracy.spec import OutputSpec
from kit.accuracy.verdict import settle
from kit.documented import written
from kit.evidence.left_out import judged_outputs
from kit.evidence.trust import device_repeats
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary


def rebuild_comparison(run: Run, summary: Summary) -> Comparison:
    """What summarise() takes, from a summary that has outputs. Raises LookupError, TypeError, ValueError
    or ArithmeticError where record and summary do not fit."""
    if run.noise is None or summary.noise is None or summary.outputs is None:
        raise ValueError("nothing was compared")
    specs = {
        name: msgspec.convert(written(spec), OutputSpec)
        for name, spec in judged_outputs(run.model.outputs, run.weights).items()
        if spec.role != "step_scores"
    }
    outputs = {name: summary.outputs[name] for name in specs}
    repeated = device_repeats(run.noise)
    verdicts = settle(
        {name: _judge(outputs[name], spec, repeated.get(name)) for name, spec in specs.items()}
    )
    errors = {name: output.truth for name, output in outputs.items()}
    repeats = summary.noise.reference_repeat or {}
    further = {name: output.further for name, output in outputs.items()}
    hf32 = run.precision is not None and run.precision.hf32
    return conclude(
        specs,
        verdicts,
        errors,
        further,
        repeats,
        summary.samples,
        hf32=hf32,
        trace=summary.trace,
    )


def _judge(saved: JudgedOutput, spec: OutputSpec, repeat: Repeat | None) -> OutputVerdict:
    if saved.metrics is not None and repeat is not None:
        return judge_metrics(saved.metrics, repeat, spec.thresholds)
    return OutputVerdict(
        verdict=saved.verdict,
        reasons=tuple(saved.reasons),
        within_1_percent=saved.within_1_percent,
        blank=saved.blank,
    )
