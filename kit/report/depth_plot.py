"""The errors of a forward by depth: of every module call, its own and what has accumulated until there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kit.report.colours import LIGHT
from kit.report.drawing import blank, legend_above, powers, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kit.evidence.layers import LayerRow

_LEAST = 1e-12  # of a relative error in fp32, nothing below it is of interest


def has_depth(rows: Sequence[LayerRow]) -> bool:
    """Whether there is an error to draw."""
    return any(_sizes([row.own_relative_l2 for row in rows]))


def depths(rows: Sequence[LayerRow]) -> Figure:
    """Own errors as bars over the predicted band, and the accumulated error as a line, on a log scale; the
    first bad module is marked. What is not finite ends at the top."""
    figure, axes = blank(3.0)
    drawn = [
        (row.own_relative_l2, row.accumulated_relative_l2, row.explained_up_to) for row in rows
    ]
    sizes = _sizes(value for each in drawn for value in each)
    least = 10.0 ** math.floor(math.log10(min(sizes)))
    top = 10.0 ** math.ceil(math.log10(max(sizes)) + 0.3)

    def shown(values: Iterable[float | None]) -> list[float]:
        return [min(max(value or 0.0, least), top) for value in values]

    own, accumulated, band = (shown(values) for values in zip(*drawn, strict=True))
    edges = [order - 0.5 for order in range(len(rows) + 1)]
    look: Any = {"edges": edges, "baseline": least, "fill": True, "linewidth": 0}
    axes.stairs(band, color=LIGHT["band"], label="predicted", gid="band", **look)
    axes.stairs(own, color=LIGHT["device"], label="own", gid="own", **look)
    edge: Any = {"color": LIGHT["ink"], "linewidth": 0.7, "baseline": None, "gid": "band-end"}
    axes.stairs(band, edges, **edge)  # over the bars, which stand before the band
    line: Any = {"color": LIGHT["reference"], "linewidth": 1.2, "gid": "accumulated"}
    axes.plot(range(len(rows)), accumulated, label="accumulated", **line)
    bad = next((order for order, row in enumerate(rows) if row.unexplained), None)
    if bad is not None:
        mark: Any = {"color": LIGHT["bad"], "markersize": 6, "linestyle": "none", "gid": "bad"}
        axes.plot([bad], [min(own[bad] * 1.6, top)], "v", label="first bad", **mark)
    axes.set_yscale("log")
    axes.set(xlim=(edges[0], edges[-1]), ylim=(least, top))
    powers(axes.yaxis)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.set(xlabel="module call", ylabel="relative L2")
    legend_above(axes)
    return figure


def _sizes(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value and _LEAST < value < math.inf]
