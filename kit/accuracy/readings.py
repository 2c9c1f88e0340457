"""The seven ways in which published reports read "within 1%", side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from kit.accuracy.figures import Metrics
from kit.accuracy.thresholds import ONE_PERCENT
from kit.documented import Documented, says

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


Figures = Annotated[
    dict[str, float | None], says("Numbers by name; null where one cannot be computed.")
]


class OutputReading(Documented, frozen=True, kw_only=True):
    """One reading, of one output."""

    figures: Annotated[Figures, says("Its numbers by name; null where one cannot be computed.")]
    within: Annotated[bool | None, says("Null where the reading does not apply to the output.")]


class WorstReading(Documented, frozen=True, kw_only=True):
    """One reading, over all outputs."""

    rule: Annotated[str, says("The reading in words.")]
    figures: Annotated[Figures, says("Its numbers by name; null where one cannot be computed.")]
    within: Annotated[
        bool | None,
        says("Whether every output it applies to is within; null where it applies to none."),
    ]
    output: Annotated[
        str | None,
        says(
            "Output that the figures are of: the worst by this reading; null where it "
            "applies to none."
        ),
    ]


class Readings(Documented, frozen=True, kw_only=True):
    """The seven ways in which reports read "within 1%", side by side; null where nothing was compared."""

    mean_relative: WorstReading
    mean_relative_big: WorstReading
    softmax: WorstReading
    range: WorstReading
    one_minus_cosine: WorstReading
    relative_l2: WorstReading
    reports: WorstReading


def read(metrics: Metrics) -> dict[str, OutputReading]:
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
    for name, (_, limits) in READINGS.items():
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
        found[name] = OutputReading(figures=figures, within=within)
    return found


def worst(readings: Mapping[str, Mapping[str, OutputReading]]) -> Readings:
    """Each reading over several outputs: that of the output that is worst by it, named."""
    return Readings(
        **{
            name: _worst(name, {output: read[name] for output, read in readings.items()})
            for name in READINGS
        }
    )


def _worst(name: str, of_outputs: Mapping[str, OutputReading]) -> WorstReading:
    rule, limits = READINGS[name]
    applies = {key: reading for key, reading in of_outputs.items() if reading.within is not None}

    def excess(output: str) -> tuple[bool, float]:
        reading = applies[output]
        parts = [
            float("inf") if value is None else value / limits[figure]
            for figure, value in reading.figures.items()
        ]
        return not reading.within, max(parts)

    output = max(applies, key=excess, default=None)
    return WorstReading(
        rule=rule,
        figures=dict.fromkeys(limits) if output is None else applies[output].figures,
        within=None if output is None else all(reading.within for reading in applies.values()),
        output=output,
    )
