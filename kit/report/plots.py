"""The plots of one run, drawn from its evidence: for the page inline, for Markdown as files in plots/.

One drawing serves both: the SVG of the files has the light colours, the page makes variables of them.
Labels are English, so that no font without Chinese characters is asked for them. matplotlib is optional
(requirements-report.txt) and imported only here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kit.evidence.logs import PLOTS, Logs
from kit.evidence.reading import Evidence
from kit.report import drawing
from kit.report.charts import Charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWABLE = 1e300  # the span of larger values leaves fp64


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A finished plot. `kind` is error, scatter, top5, latency or truth; `output` the output it is of,
    None where it is of none or of all; `name` its file's, and what its ids in the page begin with."""

    kind: str
    output: str | None
    name: str
    svg: str
    png: bytes


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_plots(evidence: Evidence, charts: Charts) -> list[Plot]:
    """Every plot that the evidence holds the data of, always byte for byte the same."""
    plots: list[Plot] = []
    with drawing.style():
        for kind, output, draw in _drawn(evidence, charts):
            name = _file_name(kind, output, {plot.name for plot in plots})
            svg, png = _rendered(draw())
            plots.append(Plot(kind=kind, output=output, name=name, svg=svg, png=png))
    return plots


def write_plots(logs: Logs, plots: list[Plot]) -> None:
    """Write NAME.svg and NAME.png of each into plots/, and remove those of an earlier rendering."""
    written = {f"{plot.name}.{ending}" for plot in plots for ending in ("svg", "png")}
    for plot in plots:
        logs.write_text(f"{PLOTS}/{plot.name}.svg", plot.svg)
        logs.write_bytes(f"{PLOTS}/{plot.name}.png", plot.png)
    folder = logs.path(PLOTS)
    for earlier in () if folder.is_symlink() else folder.glob("*"):
        if earlier.suffix in (".svg", ".png") and earlier.name not in written:
            logs.discard(f"{PLOTS}/{earlier.name}")


def truths(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The outputs that were held against fp64."""
    outputs: Mapping[str, Any] = summary["outputs"] or {}
    return {name: output["truth"] for name, output in outputs.items() if output["truth"]}


def _drawn(
    evidence: Evidence, charts: Charts
) -> Iterator[tuple[str, str | None, Callable[[], Figure]]]:
    for name, drawn in charts.outputs.items():
        if drawn["counts"]:
            yield "error", name, partial(drawing.error_histogram, drawn)
        if drawn["index"] and max(map(abs, drawn["reference"] + drawn["device"])) < _DRAWABLE:
            yield "scatter", name, partial(drawing.scatter, drawn)
    if (top5 := charts.top5) and top5["classes"]:
        yield "top5", top5["output"], partial(drawing.top5_bars, top5["classes"])
    latency = evidence.summary["latency"] or {}
    if latency.get("samples_ms"):
        yield "latency", None, partial(drawing.latencies, latency)
    truth = truths(evidence.summary)
    if any(side["relative_l2"] for each in truth.values() for side in _sides(each)):
        yield "truth", None, partial(drawing.truth_bars, truth)


def _sides(truth: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return truth["reference"], truth["device"]


def _rendered(figure: Figure) -> tuple[str, bytes]:
    """The SVG and the PNG of a figure, without dates and versions."""
    svg, png = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(svg, format="svg", metadata=nothing)
    figure.savefig(png, format="png", metadata={"Software": None}, dpi=160)
    return svg.getvalue(), png.getvalue()


def _file_name(kind: str, output: str | None, taken: set[str]) -> str:
    """A name for a file and an id, of safe characters whatever the output is called."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", output or "")[:60]
    wanted = name = f"{kind}-{safe}" if output else kind
    number = 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
