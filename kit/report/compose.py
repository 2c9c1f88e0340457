"""The outline of a report: which sections it has, in the published reports' order."""

from __future__ import annotations

from kit.report import sections_accuracy as accuracy
from kit.report import sections_arithmetic as arithmetic
from kit.report import sections_explanation as explanation
from kit.report import sections_plots as plots
from kit.report import sections_proof as proof
from kit.report import sections_run as run
from kit.report.claims import sentence
from kit.report.facts import Told
from kit.report.outline import Report, Toned

_SECTIONS = (
    run.model, run.hardware, run.software, run.install, run.command, run.weights, run.fallback,
    run.results, accuracy.errors, run.logs, run.conclusion, run.score,
    plots.charts, plots.golden, plots.top5, accuracy.noise, accuracy.readings, explanation.explanation,
    plots.latency, accuracy.metrics, proof.proof, proof.precision, arithmetic.arithmetic,
    proof.hashes, proof.attempts,
)  # fmt: skip


def compose(told: Told) -> Report:
    """The report of one run, in one language."""
    say, claim, summary = told.say, told.claim, told.summary
    name = summary.model or say("title.unknown_model")
    tags = [say("brief.simulated")] if summary.simulated else []
    tags += [say("brief.random")] if summary.fallback_used else []
    outcome = say(f"verdict.{claim.outcome}")
    return Report(
        model=name,
        title=say("title.report", model=name, suffix=told.suffix),
        kicker=say("title.evidence"),
        status=sentence(claim, say),
        badge=Toned(" · ".join([*tags, outcome]), claim.tone),
        on_npu=claim.on_npu,
        lead=tuple(run.lead(told)),
        sections=(
            *(section(told) for section in _SECTIONS),
            *accuracy.trace(told),
            *accuracy.samples(told),
        ),
        closing=say("text.closing", version=summary.kit_version),
    )
