"""The outputs of a comparison as an aligned table, a line for each, for a console."""

from __future__ import annotations

from collections.abc import Mapping

from kit.accuracy.figures import Metrics
from kit.accuracy.judged import JudgedOutput
from kit.errors import shown

_HEAD = ("output", "verdict", "relative L2", "worst part", "top-1")


def outputs_table(outputs: Mapping[str, JudgedOutput]) -> list[str]:
    """A line for each of a comparison's `outputs`, and below it why it did not pass, or by what it was
    judged where no figure says so. Foreign names are quoted."""
    rows = {name: _row(name, output) for name, output in outputs.items()}
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows.values(), strict=True)]
    lines = [_line(_HEAD, widths)] if rows else []
    for name, row in rows.items():
        output = outputs[name]
        lines.append(_line(row, widths))
        if output.verdict != "PASS" or output.metrics is None:
            lines += [f"  because: {reason}" for reason in output.reasons]
        elif output.within_1_percent is False:
            lines.append("  but not within 1% in its worst part: match_within_1_percent is false")
    return lines


def _row(name: str, output: JudgedOutput) -> tuple[str, ...]:
    metrics = output.metrics
    ranking = metrics.ranking if metrics else None
    return (
        shown(name),
        output.verdict,
        _figure(metrics.relative_l2 if metrics else None),
        _worst_part(metrics) if metrics else "-",
        f"{ranking.top1_agree} of {ranking.rows}" if ranking else "-",
    )


def _worst_part(metrics: Metrics) -> str:
    """Of the parts above the floor of rounding, the one that is furthest off."""
    parts = metrics.parts.counting
    if not parts:
        return "-"
    name = max(parts, key=lambda name: (parts[name].distance, name))
    at = "" if parts[name].index is None else " " + ",".join(map(str, parts[name].index or ()))
    return f"{name}{at}: {_figure(parts[name].distance)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
