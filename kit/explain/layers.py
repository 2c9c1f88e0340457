"""logs/layers.csv and the lines of the log: every call of every module, and the first bad one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from kit.explain.localise import Layer

_HEAD = (
    *("order", "module", "call", "kind", "output_shapes", "accumulated_relative_l2"),
    *("own_relative_l2", "predicted_relative_l2", "own_worst_row", "predicted_worst_row"),
    *("over_band", "unexplained", "not_checked"),
)
_SHOWN = 12


def layers_csv(layers: Sequence[Layer]) -> str:
    """Every row. Figures that are not known are empty, with the reason in the last column."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEAD)
    for order, layer in enumerate(layers):
        rows.writerow(
            (order, layer.name, layer.number, layer.kind, _shapes(layer), *_figures(layer))
        )
    return text.getvalue()


def layers_table(layers: Sequence[Layer]) -> list[str]:
    """The worst of them by their own error over what is explained, in the order of the forward."""
    checked = [layer for layer in layers if layer.error is not None]
    skipped = len(layers) - len(checked)
    worst = sorted(checked, key=lambda layer: -_over(layer))[:_SHOWN]
    lines = [f"{len(checked)} module calls checked, {skipped} not; the worst by their own error:"]
    lines.append(f"  {'own':>9} {'predicted':>9} {'over band':>9} {'accumulated':>11}  module")
    for layer in (each for each in layers if each in worst):
        assert layer.error is not None
        accumulated = "-" if layer.accumulated is None else f"{layer.accumulated:.2e}"
        lines.append(
            f"  {layer.error.own.whole:9.2e} {layer.error.predicted.whole:9.2e} "
            f"{layer.error.over_band:9.3g} {accumulated:>11}  {layer.name} ({layer.kind})"
        )
    return lines


def _over(layer: Layer) -> float:
    return layer.error.over_band if layer.error else 0.0


def _shapes(layer: Layer) -> str:
    return " ".join("x".join(map(str, shape)) for shape in layer.shapes)


def _figures(layer: Layer) -> tuple[object, ...]:
    accumulated = "" if layer.accumulated is None else layer.accumulated
    if layer.error is None:
        return accumulated, "", "", "", "", "", "", layer.skipped
    error = layer.error
    return (
        *(accumulated, error.own.whole, error.predicted.whole),
        *(error.own.worst_row, error.predicted.worst_row),
        *(error.over_band, error.unexplained, ""),
    )
