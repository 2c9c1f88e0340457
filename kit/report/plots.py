"""The plots of one run, drawn from its evidence: for the page inline, for Markdown as files in plots/.

Labels of the files are English, those of the page in its language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from kit.accuracy.golden import AgainstGolden
from kit.evidence.layers import LayerRow
from kit.evidence.logs import PLOTS, Logs
from kit.evidence.types.summary import Summary
from kit.report import depth_plot, drawing
from kit.report.charts import Charts
from kit.report.sheet import Look

_DRAWABLE = 1e300  # the span of larger values leaves fp64


Draw = Callable[[Look], str]
# A plot by its kind (error, difference, strip, top5, latency, golden, depth) and the output it is of, None
# where it is of none or of all: what its files are called, and how to draw it.
Planned = Mapping[tuple[str, str | None], tuple[str, Draw]]


def plan_plots(summary: Summary, charts: Charts, layers: Sequence[LayerRow]) -> Planned:
    """Every plot that the evidence holds the data of."""
    planned: dict[tuple[str, str | None], tuple[str, Draw]] = {}
    for kind, output, draw in _drawable(summary, charts, layers):
        name = _file_name(kind, output, {taken for taken, _ in planned.values()})
        planned[kind, output] = name, draw
    return planned


def write_plots(logs: Logs, planned: Planned) -> None:
    """Write NAME.svg of each into plots/, always byte for byte the same; none of an earlier rendering is
    left."""
    logs.discard(PLOTS)
    for name, draw in planned.values():
        logs.write_text(f"{PLOTS}/{name}.svg", draw(Look()))


def against_golden(summary: Summary) -> dict[str, AgainstGolden]:
    """The outputs that were held against the golden."""
    return {name: each.truth for name, each in (summary.outputs or {}).items() if each.truth}


def _drawable(
    summary: Summary, charts: Charts, layers: Sequence[LayerRow]
) -> Iterator[tuple[str, str | None, Draw]]:
    for name, drawn in charts.outputs.items():
        if drawn.counts:
            yield "error", name, partial(drawing.error_histograms, drawn=drawn)
        if drawn.index and max(map(abs, drawn.reference + drawn.device)) < _DRAWABLE:
            yield "difference", name, partial(drawing.differences, drawn=drawn)
        if drawn.strip and any(drawn.strip.relative_l2):
            yield "strip", name, partial(drawing.strip, found=drawn.strip)
    if charts.top5 and charts.top5.classes:
        yield "top5", charts.top5.output, partial(drawing.top5_bars, classes=charts.top5.classes)
    if summary.latency and summary.latency.samples_ms:
        yield "latency", None, partial(drawing.latencies, latency=summary.latency)
    errors = against_golden(summary)
    if any(side.relative_l2 for each in errors.values() for side in (each.reference, each.device)):
        yield "golden", None, partial(drawing.golden_bars, errors=errors)
    if depth_plot.has_depth(layers):
        yield "depth", None, partial(depth_plot.depths, rows=layers)


def _file_name(kind: str, output: str | None, taken: set[str]) -> str:
    """A name for a file and an id, of safe characters whatever the output is called."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", output or "")[:60]
    wanted = name = f"{kind}-{safe}" if output else kind
    number = 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
