"""report.html: one page, readable offline, of everything that the evidence of a run says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kit.evidence.logs import PAGE, Logs
from kit.evidence.reading import Evidence
from kit.report.charts import Charts, charts_of
from kit.report.claims import claim_of, sentence
from kit.report.colours import DARK, LIGHT
from kit.report.page_texts import Language, PageTexts
from kit.report.plots import Plot, can_draw, draw_plots, truths, write_plots
from kit.report.svg import inline
from kit.report.texts import Texts

_SHOWN_POINTS = 20


def write_page(logs: Logs, evidence: Evidence, language: Language = "zh") -> None:
    """Write report.html, and plots/ where matplotlib is installed."""
    charts = charts_of(logs, evidence)
    plots = draw_plots(evidence, charts) if can_draw() else []
    write_plots(logs, plots)
    logs.write_text(PAGE, render_page(evidence, charts, plots, language))


def render_page(
    evidence: Evidence, charts: Charts, plots: list[Plot], language: Language = "zh"
) -> str:
    """The page's HTML. `evidence.record` may be empty, where a run left none that can be read."""
    texts = PageTexts(language)
    environment = Environment(
        loader=PackageLoader("kit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": number, "figure": _shown(texts), "flag": _flag(texts)}
    summary = evidence.summary
    return environment.get_template("page.html.j2").render(
        t=texts,
        summary=summary,
        record=evidence.record,
        charts=charts,
        claim=sentence(claim_of(summary), Texts(language)),
        tone=_tone(summary),
        light=LIGHT,
        dark=DARK,
        can_draw=can_draw(),
        drawn=_inline(plots, evidence, charts, texts),
        truths=truths(summary),
        worst_points=worst_points,
        bins=bins,
    )


def number(value: float | int) -> str:
    """A figure to be read: whole numbers in groups, others to six significant digits, near 1 to ten."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if abs(value - 1) > 1e-3 or value == 1 else f"{value:.10g}"


def bins(drawn: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """The histogram as rows: from, to, elements; without the empty ones."""
    edges = [10.0**edge for edge in drawn["log10_edges"]]
    rows = zip(edges, edges[1:], drawn["counts"], strict=False)
    return [(low, high, count) for low, high, count in rows if count]


def worst_points(drawn: Mapping[str, Any]) -> list[tuple[int, float, float]]:
    """The points that differ most: index, reference, device."""
    points = list(zip(drawn["index"], drawn["reference"], drawn["device"], strict=True))
    return sorted(points, key=lambda point: -abs(point[2] - point[1]))[:_SHOWN_POINTS]


def _shown(texts: PageTexts) -> Any:
    """A figure, or why it was not measured."""

    def shown(value: Any, reason: str, unit: str = "") -> Markup:
        if value is None:
            return Markup('<span class="absent">{}</span>').format(texts.not_measured(reason))
        if isinstance(value, bool):
            return Markup("{}").format(texts("yes" if value else "no"))
        text = number(value) if isinstance(value, (int, float)) else str(value)
        return Markup("{}{}").format(text, f" {unit}" if unit else "")

    return shown


def _flag(texts: PageTexts) -> Any:
    def flag(value: bool | str | None) -> str:
        if value is None:
            return texts("f_unknown_flag")
        return str(value).lower() if isinstance(value, bool) else value

    return flag


def _tone(summary: Mapping[str, Any]) -> str:
    """The colour of the verdict: good only for what is an NPU's, or may become one's."""
    if summary["verdict"] in ("FAIL", "INVALID") or summary["status"] == "FAILED":
        return "bad"
    real = summary["verdict"] == "PASS" and summary["npu_latency_ms"] is not None
    return "good" if real else "caution"


def _inline(
    plots: list[Plot], evidence: Evidence, charts: Charts, texts: PageTexts
) -> dict[tuple[str, str | None], Markup]:
    """Every plot as an element of the page, by its kind and its output; matplotlib and inline() escape
    every text of it."""
    return {
        (plot.kind, plot.output): Markup(
            inline(
                plot.svg,
                plot.name,
                title=_title(plot, evidence.summary, charts, texts),
                labels=texts.plot_labels,
            )
        )
        for plot in plots
    }


def _title(plot: Plot, summary: Mapping[str, Any], charts: Charts, texts: PageTexts) -> str:
    """What is to be seen, for those who do not see it."""
    values: dict[str, Any] = {"output": plot.output}
    if plot.kind in ("error", "scatter"):
        drawn = charts.outputs[plot.output or ""]
        largest = summary["outputs"][plot.output]["metrics"]["max_abs_diff"]
        values |= {"elements": number(drawn["elements"]), "zeros": number(drawn["zeros"])}
        values |= {"largest": largest and number(largest), "points": len(drawn["index"])}
    elif plot.kind == "latency":
        latency = summary["latency"]
        values |= {name: number(latency[f"{name}_ms"]) for name in ("mean", "p50")}
        values |= {"points": len(latency["samples_ms"])}
    return texts(f"alt_{plot.kind}", **values)
