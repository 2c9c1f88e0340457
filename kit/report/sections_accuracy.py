"""How far the result is off, by every figure, and how much of that is rounding; and how fast it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from kit.accuracy.figures import Close, Metrics, Ranking, Side
from kit.accuracy.judged import JudgedOutput
from kit.accuracy.part import Part, Parts
from kit.accuracy.repeats import Repeat
from kit.report.facts import Told, count, number
from kit.report.outline import Block, Cell, Fact, Facts, Heading, Section, Table

_ERRORS = (
    "max_abs_diff mean_abs_diff cosine_similarity top1_match top5_match "
    "torch_allclose_atol_5e-2_rtol_1e-2 match_within_1_percent match_basis"
).split()
_FIGURES = "relative_l2 max_over_range max_abs_diff mean_abs_diff cosine_similarity".split()


def errors(told: Told) -> Section:
    """The error of every output, in the published reports' names too."""
    outputs = told.summary.outputs or {}
    primary = told.say("label.primary", name=told.text(told.at("primary_output")))
    blocks: list[Block] = [Facts((told.fact("compared", primary), *told.named(*_ERRORS)))]
    if outputs:
        head = told.heads("output", "of_output", "elements", *_FIGURES, "share")
        rows = tuple((name, *_error_row(told, output)) for name, output in outputs.items())
        blocks.append(Table(head=head, rows=rows, words=2))
    reasons = [
        told.fact("output_verdict", f"{output.verdict} ({_why(told, output)})", name=name)
        for name, output in outputs.items()
    ]
    verdict = told.fact("verdict", told.verdict(told.summary.verdict))
    return told.section("errors", *blocks, (*reasons, verdict), remark=told.suffix)


def _why(told: Told, output: JudgedOutput) -> str:
    return told.say("phrase.between").join(map(told.say.reason, output.reasons))


def _error_row(told: Told, output: JudgedOutput) -> tuple[Cell, ...]:
    metrics, verdict = output.metrics, told.verdict(output.verdict)
    if metrics is None:
        return verdict, *["-"] * (len(_FIGURES) + 2)
    figures = (told.figure(getattr(metrics, name)) for name in _FIGURES)
    return verdict, count(metrics.elements), *figures, number(metrics.share_within_1e_2)


def readings(told: Told) -> Section:
    """The ways in which reports read "within 1%"."""
    found = told.summary.readings_of_1_percent
    if found is None:
        return told.without("readings", "readings_of_1_percent")
    rows = []
    for reading in structs.astuple(found):
        why = "does_not_apply" if reading.output is None else "figure"
        numbers = {name: told.figure(value, why) for name, value in reading.figures.items()}
        within = told.figure(None, why) if reading.within is None else told.good(reading.within)
        output = told.figure(reading.output, why)
        rows.append((told.text(reading.rule), told.text(numbers), within, output))
    head = told.heads("reading", "figures", "within_it", "worst_output")
    return told.section("readings", Table(head=head, rows=tuple(rows), words=4))


def noise(told: Told) -> Section:
    """Whether either side gives the same twice."""
    found = told.summary.noise
    if found is None:
        return told.without("noise", "noise")
    sides = (found.device_repeat, found.reference_repeat or {})
    rows = tuple((name, *(_repeated(told, side.get(name)) for side in sides)) for name in sides[0])
    head = told.heads("output", "device_twice", "reference_twice")
    return told.section("noise", Table(head=head, rows=rows, words=3))


def _repeated(told: Told, repeat: Repeat | None) -> Cell:
    if repeat is None:
        return told.missing(told.summary.null_reasons.get("outputs", told.say("null.record")))
    if repeat.bit_identical:
        return told.say("text.identical")
    figures = {name: getattr(repeat, name) for name in ("relative_l2", "max_abs_diff")}
    return told.text({name: told.figure(value, "token_ids") for name, value in figures.items()})


def trace(told: Told) -> Iterator[Section]:
    """A text step by step, where the model generates one."""
    if (found := told.summary.trace) is None:
        return
    rows = [
        (
            str(number),
            step.phase,
            told.figure(step.relative_l2),
            told.figure(step.divergence),
            str(step.rank),
            told.figure(step.margin),
            told.good(step.good),
        )
        for number, step in enumerate(found.steps)
    ]
    first = found.first_bad
    said = told.say("text.no_bad_step") if first is None else f"{first} ({found.fault})"
    head = told.heads(
        "step", "phase", "relative_l2", "divergence", "device_rank_of", "margin", "within_it"
    )
    facts = [told.fact("first_bad_step", said)]
    yield told.section("trace", facts, Table(head=head, rows=tuple(rows), words=2))


def samples(told: Told) -> Iterator[Section]:
    """The samples of --data, where there were any."""
    found, say = told.summary.samples, told.say
    if found is None:
        return
    numbers = {name: getattr(found, name) for name in ("passed", "failed", "invalid", "count")}
    verdict = told.fact("verdict", told.verdict(found.verdict))
    facts = [told.fact("counts", say("text.counts", **numbers)), verdict]
    if found.reason is not None:
        facts.append(told.fact("reason", found.reason))
    if found.top1 is None:
        facts.append(Fact("top-1", told.missing(say("null.top1"))))
    else:
        rate = f"{found.top1.rate:.4f} ({found.top1.low:.4f}, {found.top1.high:.4f})"
        facts.append(told.fact("top1_rate", rate, output=found.top1.output))
    rows = []
    for name, output in found.outputs.items():
        worst = told.figure(output.worst.relative_l2)
        over_all = (output.mean_relative_l2, output.max_relative_l2, output.max_max_abs_diff)
        figures = (told.figure(value, "sample") for value in over_all)
        rows.append((name, output.worst.sample, worst, *figures))
    head = told.heads("output", "worst_sample", "relative_l2", "mean_l2", "max_l2", "max_abs_diff")
    yield told.section("samples", facts, Table(head=head, rows=tuple(rows), words=2))


def metrics(told: Told) -> Section:
    """Every figure of every output."""
    outputs, say = told.summary.outputs, told.say
    if outputs is None:
        return told.without("metrics", "outputs")
    blocks: list[Block] = []
    for name, output in outputs.items():
        blocks.append(Heading(f"{name} ({output.role}): {output.verdict}"))
        limits = output.thresholds
        text = f"relative_l2 <= {limits.relative_l2}, max_over_range <= {limits.max_over_range}"
        facts = [told.fact("limits", text)]
        if limits.reason is not None:
            facts.append(told.fact("reason", limits.reason))
        if output.metrics is None:
            facts.append(told.fact("figures", told.missing(say("null.metrics"))))
        blocks.append(Facts(tuple(facts)))
        if output.metrics:
            rows = tuple(_figures(told, output.metrics))
            fold = say("label.all_figures", name=name, count=len(rows))
            head = told.heads("figure", "value")
            blocks.append(Table(head=head, rows=rows, words=2, fold=fold))
    return told.section("metrics", *blocks)


def _figures(told: Told, of: Metrics) -> Iterator[tuple[str, Cell]]:
    for name, value in structs.asdict(of).items():
        match value:
            case Side():
                yield from _parted(told, name, value, nonfinite=value.nonfinite.total)
            case Ranking():
                yield from _parted(told, name, value, disputed=len(value.disputed))
            case Parts():
                for part, worst in structs.asdict(value).items():
                    if isinstance(worst, Part):
                        yield from _parted(told, f"{name}.{part}", worst)
                    else:
                        yield f"{name}.{part}", told.figure(worst, "part")
            case [Close(), *_]:
                for close in value:
                    yield f"allclose(atol={close.atol}, rtol={close.rtol})", str(close.allclose)
            case None:
                yield name, told.missing(told.say.first("null", name, "figure"))
            case _:
                yield name, told.shown(value)


def _parted(told: Told, name: str, of: Any, **known: int) -> Iterator[tuple[str, Cell]]:
    """The figures of a part of the figures; of a Part, those that say where it is only if they do."""
    for key, value in (structs.asdict(of) | known).items():
        if value is not None or not isinstance(of, Part):
            yield f"{name}.{key}", told.figure(value)
