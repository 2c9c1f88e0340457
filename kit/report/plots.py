"""The plots of one run, drawn from its evidence: for the page inline, for Markdown as files in plots/.

One drawing serves both: the SVG of the files has the light colours, the page makes variables of them.
Labels are English, so that no font without Chinese characters is asked for them. matplotlib is optional
(requirements-report.txt) and imported only here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kit.accuracy.golden import AgainstGolden
from kit.evidence.layers import LayerRow
from kit.evidence.logs import PLOTS, Logs
from kit.evidence.types.summary import Summary
from kit.report import depth_plot, drawing
from kit.report.charts import Charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWABLE = 1e300  # the span of larger values leaves fp64


@dataclass(frozen=True)
class Drawn:
    """A finished plot, of light colours."""

    svg: str
    png: bytes


# A plot by its kind (error, difference, strip, top5, latency, golden, depth) and the output it is of, None
# where it is of none or of all: what its files are called, and how to draw it.
Planned = Mapping[tuple[str, str | None], tuple[str, Callable[[], "Figure"]]]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def plan_plots(summary: Summary, charts: Charts, layers: Sequence[LayerRow]) -> Planned:
    """Every plot that the evidence holds the data of."""
    planned: dict[tuple[str, str | None], tuple[str, Callable[[], Figure]]] = {}
    for kind, output, draw in _drawable(summary, charts, layers):
        name = _file_name(kind, output, {taken for taken, _ in planned.values()})
        planned[kind, output] = name, draw
    return planned


def draw_plots(planned: Planned) -> dict[str, Drawn]:
    """Each by its files' name, always byte for byte the same."""
    with drawing.style():
        return {name: _rendered(draw()) for name, draw in planned.values()}


def write_plots(logs: Logs, plots: Mapping[str, Drawn]) -> None:
    """Write NAME.svg and NAME.png of each into plots/, and remove those of an earlier rendering."""
    for name, plot in plots.items():
        logs.write_text(f"{PLOTS}/{name}.svg", plot.svg)
        logs.write_bytes(f"{PLOTS}/{name}.png", plot.png)
    folder = logs.path(PLOTS)
    for earlier in () if folder.is_symlink() else folder.glob("*"):
        if earlier.suffix in (".svg", ".png") and earlier.stem not in plots:
            logs.discard(f"{PLOTS}/{earlier.name}")


def against_golden(summary: Summary) -> dict[str, AgainstGolden]:
    """The outputs that were held against the golden."""
    return {name: each.truth for name, each in (summary.outputs or {}).items() if each.truth}


def _drawable(
    summary: Summary, charts: Charts, layers: Sequence[LayerRow]
) -> Iterator[tuple[str, str | None, Callable[[], Figure]]]:
    for name, drawn in charts.outputs.items():
        if drawn.counts:
            yield "error", name, partial(drawing.error_histograms, drawn)
        if drawn.index and max(map(abs, drawn.reference + drawn.device)) < _DRAWABLE:
            yield "difference", name, partial(drawing.differences, drawn)
        if drawn.strip and any(drawn.strip.relative_l2):
            yield "strip", name, partial(drawing.strip, drawn.strip)
    if charts.top5 and charts.top5.classes:
        yield "top5", charts.top5.output, partial(drawing.top5_bars, charts.top5.classes)
    if summary.latency and summary.latency.samples_ms:
        yield "latency", None, partial(drawing.latencies, summary.latency)
    errors = against_golden(summary)
    if any(side.relative_l2 for each in errors.values() for side in (each.reference, each.device)):
        yield "golden", None, partial(drawing.golden_bars, errors)
    if depth_plot.has_depth(layers):
        yield "depth", None, partial(depth_plot.depths, layers)


def _rendered(figure: Figure) -> Drawn:
    """The SVG and the PNG of a figure, without dates and versions."""
    svg, png = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(svg, format="svg", metadata=nothing)
    figure.savefig(png, format="png", metadata={"Software": None}, dpi=160)
    return Drawn(svg.getvalue(), png.getvalue())


def _file_name(kind: str, output: str | None, taken: set[str]) -> str:
    """A name for a file and an id, of safe characters whatever the output is called."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", output or "")[:60]
    wanted = name = f"{kind}-{safe}" if output else kind
    number = 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
