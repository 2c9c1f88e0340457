"""report.html: the outline as one page, readable offline, with the plots in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from kit.evidence.logs import PAGE, Logs
from kit.evidence.reading import Evidence
from kit.report.colours import DARK, LIGHT
from kit.report.compose import compose
from kit.report.facts import Told
from kit.report.outline import Block, Report, Toned
from kit.report.plots import Draw, write_plots
from kit.report.sheet import Look
from kit.words import Language, Texts

# A page is not read from top to bottom: what was found comes before what it was found with.
_FIRST = (
    "conclusion errors charts golden top5 latency noise trace samples readings results proof precision "
    "weights fallback attempts"
).split()


def write_page(logs: Logs, evidence: Evidence, language: Language = "zh") -> None:
    """Write report.html, and plots/."""
    told = Told(logs, evidence, language)
    write_plots(logs, told.plots)
    logs.write_text(PAGE, render_page(compose(told), dict(told.plots.values()), told.say))


@cache
def template() -> Template:
    """The page's template."""
    settings: Any = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    loader = PackageLoader("kit.report")
    environment = Environment(loader=loader, undefined=StrictUndefined, **settings)
    environment.tests["toned"] = lambda cell: isinstance(cell, Toned)
    return environment.get_template("page.html.j2")


def render_page(report: Report, plots: Mapping[str, Draw], say: Texts) -> str:
    """The page's HTML. `plots` draw those of the report, by name."""
    colours = {name: f"var(--{name})" for name in LIGHT}
    place = {key: number for number, key in enumerate(_FIRST)}
    return template().render(
        report=report,
        sections=sorted(report.sections, key=lambda section: place.get(section.key, len(place))),
        language=say("phrase.language"),
        colours={"light": LIGHT, "dark": DARK},
        drawn={
            # Every text of a plot is escaped where it is drawn.
            plot.name: Markup(
                plots[plot.name](Look(colours, say.drawn, f"{plot.name}-", title=plot.alt))
            )
            for plot in report.plots
        },
        grouped=grouped,
    )


def grouped(blocks: tuple[Block, ...]) -> Iterator[tuple[str, list[Block]]]:
    """Neighbours of one kind together, by the kind's name: plots share a line where there is room."""
    for kind, same in groupby(blocks, key=lambda block: type(block).__name__):
        yield kind, list(same)
