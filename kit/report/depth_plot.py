"""The errors of a forward by depth: of every module call, its own and what has accumulated until there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kit.evidence.layers import LayerRow
from kit.report import scales
from kit.report.sheet import Look, Sheet

_LEAST = 1e-12  # of a relative error in fp32, nothing below it is of interest
_TRIANGLE = "M-3.5 -3H3.5L0 3z"


def has_depth(rows: Sequence[LayerRow]) -> bool:
    """Whether there is an error to draw."""
    return any(_sizes([row.own_relative_l2 for row in rows]))


def depths(look: Look, rows: Sequence[LayerRow]) -> str:
    """Own errors as bars over the predicted band, and the accumulated error as a line, on a log scale; the
    first bad module is marked. What is not finite ends at the top."""
    own, accumulated, band = (
        [math.inf if value is not None and math.isnan(value) else value or 0.0 for value in values]
        for values in zip(
            *(
                (row.own_relative_l2, row.accumulated_relative_l2, row.explained_up_to)
                for row in rows
            ),
            strict=True,
        )
    )
    sizes = _sizes([*own, *accumulated, *band])
    least = 10.0 ** math.floor(math.log10(min(sizes)))
    edges = [order - 0.5 for order in range(len(rows) + 1)]
    x = scales.even(edges[0], edges[-1], whole=True)
    sheet = Sheet(look, 216, x, scales.powers(least, 4 * max(sizes)))
    sheet.stairs("band", band, edges, "band")
    sheet.tell("predicted", "band")
    sheet.stairs("own", own, edges, "device")
    sheet.tell("own", "device")
    sheet.stairs("band-end", band, edges, "ink", 0.7)  # over the bars, which stand before the band
    sheet.line("accumulated", range(len(rows)), accumulated, "reference", 1.2)
    sheet.tell_line("accumulated", "reference")
    bad = next((order for order, row in enumerate(rows) if row.unexplained), None)
    if bad is not None:
        sheet.shape("bad", [(bad, own[bad] * 1.6)], _TRIANGLE, "bad")
        sheet.tell("first bad", "bad", path=_TRIANGLE)
    return sheet.svg("module call", "relative L2")


def _sizes(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value and _LEAST < value < math.inf]
