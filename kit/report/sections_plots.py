"""What is drawn, with the numbers of each plot beside it, whether it can be drawn here or not."""

from __future__ import annotations

from kit.evidence.types.charts import ErrorStrip, OutputChart
from kit.report.facts import Told, count, milliseconds, number
from kit.report.outline import Block, Cell, Heading, Note, Plot, Section, Table

_TIMES = "cold mean std min p50 p50_low p50_high p90 p99 max iqr".split()
_WORST = 20  # points, rows or channels that a table shows


def charts(told: Told) -> Section:
    """How the differences of every output are spread, and where they are."""
    if told.charts.missing:
        return told.section("charts", Note(told.say(f"charts.{told.charts.missing}")))
    blocks: list[Block] = [Note(told.say("text.charts"))]
    for name, drawn in told.charts.outputs.items():
        blocks.append(Heading(name))
        values = {"elements": count(drawn.elements), "zeros": count(drawn.zeros)}
        judged = (told.summary.outputs or {})[name].metrics
        values["largest"] = told.text(told.figure(judged and judged.max_abs_diff))
        if not drawn.counts:
            nothing = "nothing_finite" if drawn.nonfinite else "equal"
            blocks.append(Note(told.say(f"charts.{nothing}", **values)))
        blocks += plot(told, "error", name, _histogram(told, drawn), **values)
        points = {"points": len(drawn.index)}
        blocks += plot(told, "difference", name, _worst_points(told, drawn), **points)
        if drawn.strip:
            of = {"of": told.say(f"label.{drawn.strip.of}"), "count": drawn.strip.count}
            blocks += plot(told, "strip", name, _worst_cells(told, drawn.strip), **of)
    return told.section("charts", *blocks)


def golden(told: Told) -> Section:
    """Both sides against the golden."""
    summary = told.summary
    if summary.outputs is None:
        return told.without("golden", "outputs")
    left_out = summary.reference.golden.reason if summary.reference else None
    absent = told.missing(left_out or told.say("null.metrics"))
    rows: list[tuple[Cell, ...]] = []
    for name, output in summary.outputs.items():
        if found := output.truth:
            device, reference = found.device.relative_l2, found.reference.relative_l2
            ratio = told.figure(found.ratio, "ratio")
            rows.append((name, told.figure(device), told.figure(reference), ratio))
        else:
            rows.append((name, absent, absent, absent))
    head = told.heads("output", "device_error", "reference_error", "ratio")
    table = Table(head=head, rows=tuple(rows))
    blocks = plot(told, "golden", None, table) or (table,)
    return told.section("golden", *blocks, Note(told.say("text.golden")))


def top5(told: Told) -> Section:
    """The first five of both sides."""
    found = told.charts.top5
    if found is None:
        return told.section("top5", Note(told.say(f"charts.{told.charts.missing or 'no_ranked'}")))
    rows = []
    for each in found.classes:
        scores = (told.figure(score, "logit") for score in (each.reference, each.device))
        ranks = f"{each.reference_rank} / {each.device_rank}"
        rows.append((each.label or f"#{each.index}", str(each.index), *scores, ranks))
    head = told.heads("class", "id", "reference_value", "device_value", "rank")
    table = Table(head=head, rows=tuple(rows))
    return told.section("top5", *(plot(told, "top5", found.output, table) or (table,)))


def latency(told: Told) -> Section:
    """Every figure of the timed runs."""
    found = told.summary.latency
    if found is None:
        return told.without("latency", "latency")
    runs = told.say("text.runs", warmup=found.warmup, iterations=found.iterations)
    facts = [told.fact("timed", runs), *told.facts(*(f"latency.{name}_ms" for name in _TIMES))]
    each = tuple((str(run), milliseconds(ms)) for run, ms in enumerate(found.samples_ms, 1))
    table = Table(head=told.heads("run", "time"), rows=each, fold=told.say("label.numbers"))
    values = {"mean": milliseconds(found.mean_ms), "p50": milliseconds(found.p50_ms)}
    uneven = found.spread != "steady"
    note = (Note(told.say(f"spread.{found.spread}"), "caution"),) if uneven else ()
    return told.section(
        "latency", facts, *note, *plot(told, "latency", None, table, points=len(each), **values)
    )


def plot(
    told: Told, kind: str, output: str | None, numbers: Table, **values: object
) -> tuple[Plot, ...]:
    """A plot where there is the data of it."""
    if (kind, output) not in told.plots:
        return ()
    name, _ = told.plots[kind, output]
    alt = told.say(f"alt.{kind}", output=output or "", **values)
    return (Plot(name, told.say(f"plot.{kind}"), alt, numbers),)


def _histogram(told: Told, drawn: OutputChart) -> Table:
    """Elements by the size of their difference, of the device and of fp32 itself; no empty bins."""
    sides = [each for each in (drawn, drawn.own) if each]
    bins = [dict(zip(each.log10_edges, each.counts, strict=False)) for each in sides]
    equal, nonfinite = told.heads("equal", "nonfinite")
    rows = [(equal, *(count(each.zeros) for each in sides))]
    for edge in sorted(set().union(*bins)):
        found = [each.get(edge, 0) for each in bins]
        if any(found):
            name = f"{10.0**edge:.2e} - {10.0 ** (edge + 0.25):.2e}"
            rows.append((name, *map(count, found)))
    rows.append((nonfinite, *(count(each.nonfinite) for each in sides)))
    head = told.heads("difference", "device_elements", "own_elements")[: 1 + len(sides)]
    return Table(head=head, rows=tuple(rows), fold=told.say("label.numbers"))


def _worst_points(told: Told, drawn: OutputChart) -> Table:
    own = drawn.own.difference if drawn.own else [None] * len(drawn.index)
    points = zip(drawn.index, drawn.reference, drawn.device, own, strict=True)
    worst = sorted(points, key=lambda point: -abs(point[2] - point[1]))[:_WORST]
    rows = []
    for index, ours, theirs, exact in worst:
        apart = (f"{theirs - ours:.3g}", told.figure(exact, "golden"))
        rows.append((str(index), number(ours), number(theirs), *apart))
    fold = told.say("label.largest_points", shown=len(rows), count=len(drawn.index))
    head = told.heads("index", "reference_value", "device_value", "device_elements", "own_elements")
    return Table(head=head, rows=tuple(rows), fold=fold)


def _worst_cells(told: Told, strip: ErrorStrip) -> Table:
    """The worst rows or channels; of neighbours that share a value, the first."""
    cells, size = strip.relative_l2, strip.count / len(strip.relative_l2)
    worst = sorted(range(len(cells)), key=lambda cell: -(cells[cell] or 0.0))[:_WORST]
    rows = tuple((str(int(cell * size)), told.figure(cells[cell])) for cell in worst)
    head = told.heads(strip.of, "relative_l2")
    return Table(head=head, rows=rows, fold=told.say("label.numbers"))
