"""The comparison that a summary came from, judged again from the figures that the summary has.

No tensor is read: what follows from the figures (verdicts, reasons, readings) is computed anew, the
figures themselves are taken as they are. kit/evidence/invariants.py says whether those can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kit.accuracy.comparison import described_readings, why_unsound
from kit.accuracy.documented import written
from kit.accuracy.figures import Metrics
from kit.accuracy.judged_figures import judge_metrics
from kit.accuracy.outcome import OutputVerdict
from kit.accuracy.readings import Reading, read, worst
from kit.accuracy.repeats import Repeat
from kit.accuracy.thresholds import Thresholds
from kit.accuracy.verdict import overall, settle


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
        "readings": {name: written(reading) for name, reading in worst(readings).items()},
        "outputs": outputs,
        "samples": summary["samples"],
        "reference": summary["reference"],
    }


def _judge(
    saved: Mapping[str, Any], spec: Mapping[str, Any], repeat: Mapping[str, Any] | None
) -> OutputVerdict:
    if saved["metrics"] is not None and repeat is not None:
        thresholds = Thresholds(**spec["thresholds"])
        return judge_metrics(
            msgspec.convert(saved["metrics"], Metrics), Repeat(**repeat), thresholds
        )
    return OutputVerdict(
        verdict=saved["verdict"],
        reasons=tuple(saved["reasons"]),
        within_1_percent=saved["within_1_percent"],
        blank=saved["blank"],
    )
