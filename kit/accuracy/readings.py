"""The seven ways in which published reports read "within 1%", side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kit.accuracy.figures import Metrics
from kit.accuracy.thresholds import ONE_PERCENT

# name: (the rule in words, its figures with their limits). They disagree: cosine > 0.99 lets a relative
# L2 of 14% through.
_ONE = ONE_PERCENT
READINGS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "mean_relative": ("mean of |diff|/|ref| <= 1%", {"mean_relative": _ONE}),
    "mean_relative_big": (
        "mean of |diff|/|ref| over |ref| > 0.01 <= 1%",
        {"mean_relative_big": _ONE},
    ),
    "softmax": (
        "largest difference of softmax probabilities <= 0.01",
        {"softmax_max_diff": _ONE},
    ),
    "range": ("max|diff| / (max ref - min ref) <= 1%", {"max_over_spread": _ONE}),
    "one_minus_cosine": ("1 - cosine <= 1%", {"one_minus_cosine": _ONE}),
    "relative_l2": ("||diff|| / ||ref|| <= 1%", {"relative_l2": _ONE}),
    "reports": (
        "cosine > 0.99 and mean|diff| < 0.005 (the published reports' own)",
        {"one_minus_cosine": 0.01, "mean_abs_diff": 0.005},
    ),
}
# The reports' own rule excludes its limits, the others include them.
_STRICT = {"reports"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading of one output, or of several: then of the `output` that is worst by it.

    `figures` are its numbers by name, None where one cannot be computed; `within` is None where the
    reading does not apply (no output has classes), False where a figure cannot be computed.
    """

    rule: str
    figures: Mapping[str, float | None]
    within: bool | None
    output: str | None = None


def read(metrics: Metrics) -> dict[str, Reading]:
    """All seven readings of one output."""
    spread = None
    if metrics.reference.min is not None and metrics.reference.max is not None:
        spread = metrics.reference.max - metrics.reference.min
    more = {
        "softmax_max_diff": metrics.ranking.softmax_max_diff if metrics.ranking else None,
        "max_over_spread": metrics.max_abs_diff / spread
        if spread and metrics.max_abs_diff is not None
        else None,
    }
    found = {}
    for name, (rule, limits) in READINGS.items():
        figures: dict[str, float | None] = {
            figure: more[figure] if figure in more else getattr(metrics, figure)
            for figure in limits
        }
        within: bool | None = metrics.positions_agree and all(
            value is not None
            and (value < limits[figure] if name in _STRICT else value <= limits[figure])
            for figure, value in figures.items()
        )
        if name == "softmax" and metrics.ranking is None:
            within = None
        found[name] = Reading(rule=rule, figures=figures, within=within)
    return found


def worst(readings: Mapping[str, Mapping[str, Reading]]) -> dict[str, Reading]:
    """Each reading over several outputs: that of the output that is worst by it, named."""
    return {
        name: _worst(name, {output: read[name] for output, read in readings.items()})
        for name in READINGS
    }


def _worst(name: str, of_outputs: Mapping[str, Reading]) -> Reading:
    limits = READINGS[name][1]
    applies = {key: reading for key, reading in of_outputs.items() if reading.within is not None}

    def excess(output: str) -> tuple[bool, float]:
        reading = applies[output]
        parts = [
            float("inf") if value is None else value / limits[figure]
            for figure, value in reading.figures.items()
        ]
        return not reading.within, max(parts)

    if not applies:
        return Reading(rule=READINGS[name][0], figures=dict.fromkeys(limits), within=None)
    output = max(applies, key=excess)
    return Reading(
        rule=READINGS[name][0],
        figures=applies[output].figures,
        within=all(reading.within for reading in applies.values()),
        output=output,
    )
