"""The ways in which published reports read "within 1%", and other people's rules, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from kit.accuracy.figures import Metrics
from kit.accuracy.further import Further, operator_limit
from kit.accuracy.thresholds import ONE_PERCENT
from kit.documented import Documented, says
from kit.words import Reason

# name: its figures with their limits; the catalogue's rule_<name> says it in words. They disagree: cosine
# > 0.99 lets a relative L2 of 14% through. A limit is in units of the figure "threshold" where the reading
# has one.
_ONE = ONE_PERCENT
READINGS: Mapping[str, Mapping[str, float]] = {
    "mean_relative": {"mean_relative": _ONE},
    "mean_relative_big": {"mean_relative_big": _ONE},
    "softmax": {"softmax_max_diff": _ONE},
    "range": {"max_over_spread": _ONE},
    "one_minus_cosine": {"one_minus_cosine": _ONE},
    "relative_l2": {"relative_l2": _ONE},
    "reports": {"one_minus_cosine": 0.01, "mean_abs_diff": 0.005},
    "operator_rule": {"mere": 1.0, "mare": 10.0},
    "divergence": {"divergence": 2 * _ONE**2},
    "overlap": {"one_minus_least_iou": _ONE},
}
# These exclude their limits, the others include them.
_STRICT = {"reports", "operator_rule"}
# Readings that not every output has a figure for.
_PARTIAL = {
    "softmax": "softmax_max_diff",
    "operator_rule": "threshold",
    "divergence": "divergence",
    "overlap": "one_minus_least_iou",
}


Figures = Annotated[
    dict[str, float | None], says("Numbers by name; null where one cannot be computed.")
]


class OutputReading(Documented, frozen=True, kw_only=True):
    """One reading, of one output."""

    figures: Annotated[Figures, says("Its numbers by name; null where one cannot be computed.")]
    within: Annotated[bool | None, says("Null where the reading does not apply to the output.")]


class WorstReading(Documented, frozen=True, kw_only=True):
    """One reading, over all outputs."""

    rule: Annotated[Reason, says("The reading in words.")]
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
    """Readings of "within 1%" and other people's rules, side by side; null where nothing was compared."""

    mean_relative: WorstReading
    mean_relative_big: WorstReading
    softmax: WorstReading
    range: WorstReading
    one_minus_cosine: WorstReading
    relative_l2: WorstReading
    reports: WorstReading
    operator_rule: WorstReading
    divergence: WorstReading
    overlap: WorstReading


def read(
    metrics: Metrics | None, further: Further | None = None, *, hf32: bool = False
) -> dict[str, OutputReading]:
    """All readings of one output; `metrics` are None for integers. `hf32`: the device's convolutions or
    matrix products were told to use it."""
    known = _figures(metrics, further, hf32)
    found = {}
    for name, limits in READINGS.items():
        figures = {figure: known.get(figure) for figure in limits}
        if (threshold := known.get("threshold")) is not None and name == "operator_rule":
            figures["threshold"] = threshold
        needed = _PARTIAL.get(name)
        applies = metrics is not None if needed is None else known.get(needed) is not None
        within = _is_within(name, figures, metrics) if applies else None
        found[name] = OutputReading(figures=figures, within=within)
    return found


def _figures(
    metrics: Metrics | None, further: Further | None, hf32: bool
) -> dict[str, float | None]:
    """Every figure that a reading asks for, as far as the output has it."""
    known: dict[str, float | None] = {}
    if metrics is not None:
        reference, ranking = metrics.reference, metrics.ranking
        plain = "mean_relative mean_relative_big one_minus_cosine relative_l2 mean_abs_diff"
        known |= {name: getattr(metrics, name) for name in plain.split()}
        known["softmax_max_diff"] = ranking.softmax_max_diff if ranking else None
        if reference.min is not None and reference.max is not None:
            spread = reference.max - reference.min
            if spread and metrics.max_abs_diff is not None:
                known["max_over_spread"] = metrics.max_abs_diff / spread
    if further is not None:
        known |= {name: getattr(further, name) for name in ("mere", "mare", "divergence")}
        known["threshold"] = operator_limit(further, hf32=hf32)
        if further.least_iou is not None:
            known["one_minus_least_iou"] = 1 - further.least_iou
    return known


def _is_within(name: str, figures: Mapping[str, float | None], metrics: Metrics | None) -> bool:
    """Whether the positions agree and every figure is at or below its limit."""
    limits, unit = READINGS[name], figures.get("threshold") or 1.0
    if metrics is not None and not metrics.positions_agree:
        return False
    values = [(figures[figure], limit * unit) for figure, limit in limits.items()]
    return all(
        value is not None and (value < limit if name in _STRICT else value <= limit)
        for value, limit in values
    )


def worst(readings: Mapping[str, Mapping[str, OutputReading]]) -> Readings:
    """Each reading over several outputs: that of the output that is worst by it, named."""
    return Readings(
        **{
            name: _worst(name, {output: read[name] for output, read in readings.items()})
            for name in READINGS
        }
    )


def _worst(name: str, of_outputs: Mapping[str, OutputReading]) -> WorstReading:
    limits = READINGS[name]
    applies = {key: reading for key, reading in of_outputs.items() if reading.within is not None}

    def excess(output: str) -> tuple[bool, float]:
        reading = applies[output]
        unit = reading.figures.get("threshold") or 1.0
        values = {figure: reading.figures[figure] for figure in limits}
        parts = [
            float("inf") if value is None else value / (limits[figure] * unit)
            for figure, value in values.items()
        ]
        return not reading.within, max(parts)

    output = max(applies, key=excess, default=None)
    return WorstReading(
        rule=Reason(f"rule_{name}"),
        figures=dict.fromkeys(limits) if output is None else applies[output].figures,
        within=None if output is None else all(reading.within for reading in applies.values()),
        output=output,
    )
