"""charts.json as a page may show it: of this run and this comparison, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.documented import written
from kit.errors import UntrustedError
from kit.evidence.documents import read_charts
from kit.evidence.logs import Logs
from kit.evidence.reading import Evidence


@dataclass(frozen=True)
class Charts:
    """What can be drawn of the outputs; `missing` names the reason (a text of page_texts.toml) where
    nothing can."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    top5: Mapping[str, Any] | None = None
    missing: str | None = None


def charts_of(logs: Logs, evidence: Evidence) -> Charts:
    """The charts of the comparison in the evidence; none of any other."""
    if not evidence.summary["outputs"]:
        return Charts(missing="charts_not_compared")
    try:
        document = written(read_charts(logs))
    except UntrustedError:
        return Charts(missing="charts_damaged")
    if document is None:
        return Charts(missing="charts_absent")
    if not all(
        _belongs(name, drawn, evidence) and _adds_up(drawn)
        for name, drawn in document["outputs"].items()
    ):
        return Charts(missing="charts_of_another_run")
    return Charts(outputs=document["outputs"], top5=document["top5"])


def _belongs(name: str, drawn: Mapping[str, Any], evidence: Evidence) -> bool:
    """Whether both sides' hashes are those of the run and of the comparison."""
    device = (evidence.record.get("outputs") or {}).get(name) or {}
    reference = evidence.summary["reference"]["outputs"].get(name) or {}
    output = evidence.summary["outputs"].get(name) or {}
    return bool(
        device.get("sha256") == drawn["device_sha256"]
        and reference.get("sha256") == drawn["reference_sha256"]
        and (output.get("metrics") or {}).get("elements") == drawn["elements"]
    )


def _adds_up(drawn: Mapping[str, Any]) -> bool:
    """Whether every element is in the histogram once, and every point has two values."""
    binned = drawn["zeros"] + drawn["nonfinite"] + sum(drawn["counts"])
    bins = len(drawn["counts"])
    return bool(
        binned == drawn["elements"]
        and len(drawn["log10_edges"]) == (bins + 1 if bins else 0)
        and len(drawn["index"]) == len(drawn["reference"]) == len(drawn["device"])
    )
