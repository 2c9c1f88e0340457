"""The comparison that a summary came from, judged again from the figures that the summary has.

No tensor is read: what follows from the figures (verdicts, reasons, readings) is computed anew, the
figures themselves are taken as they are. kit/evidence/invariants.py says whether those can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kit.accuracy.comparison import described_readings, why_unsound
from kit.accuracy.metrics import Close, Metrics, NonFinite, Side
from kit.accuracy.part import Part, Parts
from kit.accuracy.ranking import RankedRow, Ranking
from kit.accuracy.readings import Reading, read, worst
from kit.accuracy.thresholds import Thresholds
from kit.accuracy.verdict import OutputVerdict, Repeat, judge_metrics, overall, settle


def rebuild_comparison(record: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """What summarise() takes, from a summary that has outputs. Raises LookupError, TypeError, ValueError
    or ArithmeticError where record and summary do not fit."""
    outputs: dict[str, Any] = {}
    readings: dict[str, dict[str, Reading]] = {}
    specs = {
        name: spec
        for name, spec in record["model"]["outputs"].items()
        if spec["role"] != "step_scores"
    }
    repeated = record["noise"]["device_repeat"]
    verdicts = settle(
        {
            name: _judge(summary["outputs"][name], spec, repeated.get(name))
            for name, spec in specs.items()
        }
    )
    for name, found in verdicts.items():
        saved = summary["outputs"][name]
        if found.metrics and not found.blank:
            readings[name] = read(found.metrics)
        outputs[name] = {
            "role": specs[name]["role"],
            "thresholds": specs[name]["thresholds"],
            "verdict": found.verdict,
            "reasons": list(found.reasons),
            "within_1_percent": found.within_1_percent,
            "blank": found.blank,
            "metrics": saved["metrics"],
            "readings": described_readings(readings.get(name)),
            "truth": saved["truth"],
        }
    repeats = summary["noise"]["reference_repeat"]
    unsound = why_unsound({name: Repeat(**repeat) for name, repeat in repeats.items()}, verdicts)
    return {
        "verdict": "INVALID" if unsound else overall(verdicts),
        "reason": unsound,
        "reference_device": "cpu",
        "reference_repeat": repeats,
        "readings": {name: asdict(reading) for name, reading in worst(readings).items()},
        "outputs": outputs,
        "samples": summary["samples"],
        "reference": summary["reference"],
    }


def metrics_of(document: Mapping[str, Any]) -> Metrics:
    """The metrics of an output as summary.json has them."""
    rank, index = document["ranking"], document["max_abs_index"]
    return Metrics(
        **{
            **document,
            "max_abs_index": None if index is None else tuple(index),
            "close": tuple(Close(**close) for close in document["close"]),
            "reference": _side(document["reference"]),
            "device": _side(document["device"]),
            "parts": _parts(document["parts"]),
            "reference_fills": tuple(document["reference_fills"]),
            "device_fills": tuple(document["device_fills"]),
            "ranking": None if rank is None else _ranking(rank),
        }
    )


def _judge(
    saved: Mapping[str, Any], spec: Mapping[str, Any], repeat: Mapping[str, Any] | None
) -> OutputVerdict:
    if saved["metrics"] is not None and repeat is not None:
        thresholds = Thresholds(**spec["thresholds"])
        return judge_metrics(metrics_of(saved["metrics"]), Repeat(**repeat), thresholds)
    return OutputVerdict(
        verdict=saved["verdict"],
        reasons=tuple(saved["reasons"]),
        within_1_percent=saved["within_1_percent"],
        blank=saved["blank"],
    )


def _side(document: Mapping[str, Any]) -> Side:
    return Side(**{**document, "nonfinite": NonFinite(**document["nonfinite"])})


def _parts(document: Mapping[str, Any]) -> Parts:
    named = {name: _part(document[name]) for name in ("row", "channel", "scale_class")}
    changed = document["changed_ids"]
    return Parts(
        **{**document, **named, "changed_ids": None if changed is None else tuple(changed)}
    )


def _part(document: Mapping[str, Any] | None) -> Part | None:
    if document is None:
        return None
    index = document["index"]
    return Part(**{**document, "index": None if index is None else tuple(index)})


def _ranking(document: Mapping[str, Any]) -> Ranking:
    return Ranking(
        **{**document, "disputed": tuple(RankedRow(**row) for row in document["disputed"])}
    )
