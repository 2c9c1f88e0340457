"""The outputs of a comparison as an aligned table, a line for each, for a console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.errors import shown

_HEAD = ("output", "verdict", "relative L2", "worst part", "top-1")
_PARTS = ("row", "channel", "scale_class")


def outputs_table(outputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each of a comparison's `outputs`, and below it why it did not pass, or by what it was
    judged where no figure says so. Foreign names are quoted."""
    rows = {name: _row(name, output) for name, output in outputs.items()}
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows.values(), strict=True)]
    lines = [_line(_HEAD, widths)] if rows else []
    for name, row in rows.items():
        output = outputs[name]
        lines.append(_line(row, widths))
        if output["verdict"] != "PASS" or output["metrics"] is None:
            lines += [f"  because: {reason}" for reason in output["reasons"]]
    return lines


def _row(name: str, output: Mapping[str, Any]) -> tuple[str, ...]:
    metrics = output["metrics"] or {}
    ranking = metrics.get("ranking")
    return (
        shown(name),
        output["verdict"],
        _figure(metrics.get("relative_l2")),
        max(_parts(metrics), default=(0.0, "-"))[1],
        f"{ranking['top1_agree']} of {ranking['rows']}" if ranking else "-",
    )


def _parts(metrics: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """The parts above the floor of rounding: the relative L2 of each, and how it is called."""
    for kind in _PARTS if metrics else ():
        part = metrics["parts"][kind]
        if part and part["above_floor"]:
            own = part["relative_l2"]
            at = "" if part["index"] is None else " " + ",".join(map(str, part["index"]))
            error = float("inf") if own is None else own
            yield error, f"{kind.replace('_', ' ')}{at}: {_figure(own)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
