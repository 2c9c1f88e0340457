"""charts.json as a report may show it: of this run and this comparison, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kit.errors import UntrustedError
from kit.evidence.documents import read_charts
from kit.evidence.layers import LayerRow, read_layers
from kit.evidence.logs import Logs
from kit.evidence.reading import Evidence
from kit.evidence.types.charts import BothTop5, OutputChart, OwnError


@dataclass(frozen=True)
class Charts:
    """What can be drawn of the outputs; `missing` names the reason (a text `charts.*`) where nothing
    can."""

    outputs: Mapping[str, OutputChart] = field(default_factory=dict)
    top5: BothTop5 | None = None
    missing: str | None = None


def charts_of(logs: Logs, evidence: Evidence) -> Charts:
    """The charts of the comparison in the evidence; none of any other."""
    if not evidence.summary.outputs:
        return Charts(missing="not_compared")
    try:
        charts = read_charts(logs)
    except UntrustedError:
        return Charts(missing="damaged")
    if charts is None:
        return Charts(missing="absent")
    if not all(
        _belongs(name, drawn, evidence) and _adds_up(drawn)
        for name, drawn in charts.outputs.items()
    ):
        return Charts(missing="of_another_run")
    return Charts(outputs=charts.outputs, top5=charts.top5)


def layers_of(logs: Logs, evidence: Evidence) -> tuple[list[LayerRow], str | None]:
    """The module calls of the comparison in the evidence, or the reason (a text `charts.*`) why there are
    none; neither where they were not looked at."""
    explanation = evidence.summary.explanation
    if explanation is None or explanation.layers is None:
        return [], None
    try:
        return read_layers(logs, explanation.layers), None
    except UntrustedError:
        return [], "no_layers"


def _belongs(name: str, drawn: OutputChart, evidence: Evidence) -> bool:
    """Whether both sides' hashes are those of the run and of the comparison."""
    run, summary = evidence.run, evidence.summary
    device = (run.outputs or {}).get(name) if run else None
    reference = summary.reference.outputs.get(name) if summary.reference else None
    output = (summary.outputs or {}).get(name)
    return bool(
        device
        and device.sha256 == drawn.device_sha256
        and reference
        and reference.sha256 == drawn.reference_sha256
        and output
        and output.metrics
        and output.metrics.elements == drawn.elements
    )


def _adds_up(drawn: OutputChart) -> bool:
    """Whether every element is in each histogram once, and every point has all its values."""
    points = {len(drawn.index), len(drawn.reference), len(drawn.device)}
    points |= {len(drawn.own.difference)} if drawn.own else set()
    return len(points) == 1 and all(
        _binned(histogram) == drawn.elements for histogram in (drawn, drawn.own) if histogram
    )


def _binned(histogram: OutputChart | OwnError) -> int | None:
    """Elements in a histogram; None where it has not one edge more than counts."""
    bins = len(histogram.counts)
    if len(histogram.log10_edges) != (bins + 1 if bins else 0):
        return None
    return histogram.zeros + histogram.nonfinite + sum(histogram.counts)
