"""What explains the error, and where something else is going on."""

from __future__ import annotations

from collections.abc import Iterator

from kit.evidence.layers import arithmetic_by_calls
from kit.evidence.types.explanation import (
    BadModule,
    Explanation,
    FoundBehaviour,
    ModuleOperator,
    WrongOperator,
)
from kit.report.facts import Told
from kit.report.outline import Block, Cell, Facts, Note, Section, Table, Toned
from kit.report.sections_plots import plot

_WORST = 20  # module calls that the table shows
_CURED = {"strict": "text.cure_strict", "cpu": "text.cure_cpu"}
_LAYER_FIGURES = (
    *("own_relative_l2", "predicted_relative_l2", "explained_up_to", "accumulated_relative_l2"),
)


def explanation(told: Told) -> Section:
    """What explains the error: of every output, and of every behaviour that such a device may have; and
    where something else is going on."""
    found = told.summary.explanation
    if found is None:
        return told.without("explanation", "explanation")
    attributed = [] if found.not_attributed else _attributed(told, found)
    return told.section(
        "explanation",
        *attributed,
        *_located(told, found),
        *_cure(told, found),
        *_by_depth(told, found),
    )


def _attributed(told: Told, found: Explanation) -> list[Block]:
    say = told.say
    figures = "observed_relative_l2 predicted_relative_l2 fp32_relative_l2".split()
    rows = tuple(
        (
            name,
            *(told.figure(getattr(output, figure)) for figure in figures),
            told.figure(output.observed_over_predicted, "ratio"),
            told.figure(output.explained_share, "own_error"),
        )
        for name, output in found.outputs.items()
    )
    head = told.heads("output", "observed", "predicted", "fp32", "over_predicted", "explained")
    blocks: list[Block] = [
        Note(say("text.unexplained", name=name), "bad")
        for name, output in found.outputs.items()
        if output.unexplained
    ]
    blocks.append(Table(head=head, rows=rows))
    if found.behaviours:
        rows = tuple(_behaviour(told, each) for each in found.behaviours)
        head = told.heads("behaviour", "by_flags", "in_result", "removed_by", "error_without")
        blocks.append(Table(head=head, rows=rows, words=5))
    return blocks


def _located(told: Told, found: Explanation) -> Iterator[Block]:
    """The first bad module, or why there is none."""
    bad, say = found.first_bad_module, told.say
    if found.not_attributed:
        yield Note(told.text(told.missing(found.not_attributed)), "absent")
    if found.layers is not None and found.layers.recorded is True:
        yield Note(say("text.recorded_calls"))
    if bad is None:
        reason = found.first_bad_module_reason or say("null.record")
        yield Facts((told.fact("first_bad_module", told.missing(reason)),))
        return
    yield Note(say("text.bad_module", module=bad.name, kind=bad.kind, call=bad.call), "bad")
    wrong = bad.wrong_operator
    yield Facts(
        (
            told.fact("own_error", told.figure(bad.own_relative_l2, "not_finite")),
            told.fact("predicted_own", told.figure(bad.predicted_relative_l2, "not_finite")),
            told.fact("explained_up_to", told.figure(bad.explained_up_to, "not_finite")),
            told.fact("over_band", told.figure(bad.over_band, "not_finite")),
            told.fact("operators", [_operator(each) for each in bad.operators]),
            told.fact("wrong_operator", _operator(wrong) if wrong else _why_not(told, bad)),
            told.fact("reproduction", _reproduction(told, bad)),
        )
    )


def _cure(told: Told, found: Explanation) -> Iterator[Block]:
    """What would make a FAIL pass, where it was looked for."""
    if found.layers is None:
        return
    cure = found.cheapest_cure
    if cure is None:
        why = told.missing(found.cheapest_cure_reason or told.say("null.record"))
        yield Facts((told.fact("cheapest_cure", why),))
        return
    yield Note(told.say(_CURED[cure.way], count=len(cure.modules)))
    errors = {name: told.figure(value) for name, value in cure.relative_l2.items()}
    yield Facts((told.fact("cheapest_cure", cure.modules), told.fact("error_without", errors)))


def _by_depth(told: Told, found: Explanation) -> Iterator[Block]:
    """The errors of every module call, drawn, with the worst in numbers."""
    if told.no_layers:
        yield Note(told.say(f"charts.{told.no_layers}"))
    if not told.layers or found.layers is None:
        return
    if shown := arithmetic_by_calls(told.layers):
        yield Note(told.say.reason(shown))
    checked = [row for row in told.layers if row.over_band is not None]
    worst = sorted(checked, key=lambda row: -(row.over_band or 0.0))[:_WORST]
    rows = tuple(
        (
            f"{row.module} ({row.kind}, {row.call})",
            *(told.figure(getattr(row, figure), "not_tried") for figure in _LAYER_FIGURES),
        )
        for row in sorted(worst, key=lambda row: row.order)
    )
    head = told.heads("module", "own_error", "predicted_own", "explained_up_to", "accumulated")
    calls = {"checked": len(checked), "not_checked": found.layers.not_checked}
    fold = told.say("label.worst_calls", shown=len(rows), count=len(told.layers))
    table = Table(head=head, rows=rows, fold=fold)
    yield from plot(told, "depth", None, table, **calls) or (table,)


def _why_not(told: Told, bad: BadModule) -> Cell:
    return told.missing(bad.reproduction_reason or told.say("null.record"))


def _reproduction(told: Told, bad: BadModule) -> Cell:
    if bad.reproduction and not told.logs.path(bad.reproduction).is_file():
        return told.missing(told.say("null.log"))  # an export leaves it out
    return bad.reproduction or _why_not(told, bad)


def _operator(of: ModuleOperator | WrongOperator) -> str:
    return f"{of.name}({' '.join('x'.join(map(str, shape)) for shape in of.shapes)})"


def _behaviour(told: Told, of: FoundBehaviour) -> tuple[Cell, ...]:
    flags = told.figure(None, "flag") if of.active is None else told.yes(of.active)
    if of.why is not None:
        result: Cell = Toned(told.say("text.unidentified", why=told.say.reason(of.why)), "absent")
    elif of.active is None or of.active is of.found:
        result = told.yes(bool(of.found))
    elif of.found:
        result = Toned(told.say("text.against_flags", found=told.yes(True)), "bad")
    else:  # a flag allows, it does not force: cuDNN takes TF32 for some convolutions only
        result = told.say("text.flags_allow", found=told.yes(False))
    without = of.relative_l2_without
    return (
        of.name,
        flags,
        result,
        "-" if without is None else of.switch or told.say("text.no_switch"),
        "-" if without is None else told.text(without),
    )
