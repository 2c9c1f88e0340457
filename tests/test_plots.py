"""The plots as SVG: well-formed and inside their sheet, whatever a record holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from kit.accuracy.golden import AgainstGolden, Error
from kit.evidence.layers import LayerRow
from kit.evidence.types.charts import ErrorStrip, OutputChart, OwnError, RankedClass
from kit.report import depth_plot, drawing, scales
from kit.report.sheet import Look

HUGE, TINY = 1.7e308, 5e-324
SVG = "{http://www.w3.org/2000/svg}"


def chart(reference: list[float], device: list[float], own: list[float | None] | None = None,
          edges: Sequence[float] = (-7, -6.75), counts: Sequence[int] = (1,)) -> OutputChart:  # fmt: skip
    histogram = {"zeros": 0, "nonfinite": 0, "log10_edges": list(edges), "counts": list(counts)}
    points = {"index": list(range(len(reference))), "reference": reference, "device": device}
    exact = OwnError(**histogram, difference=own) if own is not None else None
    hashes = dict.fromkeys(("reference_sha256", "device_sha256"), "0" * 64)
    return OutputChart(**hashes, elements=1, **histogram, **points, strip=None, own=exact)


def classes(*scores: float | None, label: str | None = None) -> list[RankedClass]:
    ranks = {"reference_rank": 1, "device_rank": 1}
    return [
        RankedClass(index=1, label=label, reference=each, device=each, **ranks) for each in scores
    ]


def against(*errors: float | None) -> dict[str, AgainstGolden]:
    sides = [Error(relative_l2=each, max_abs_diff=None, mean_abs_diff=None) for each in errors]
    return {
        f"{n}" * 80: AgainstGolden(device=each, reference=each, ratio=None)
        for n, each in enumerate(sides)
    }


def rows(*errors: float | None) -> list[LayerRow]:
    text = {"module": "m", "kind": "k", "output_shapes": "", "not_checked": ""}
    names = ("accumulated_relative_l2", "own_relative_l2", "explained_up_to")
    return [
        LayerRow(order=order, call=0, unexplained=True, **text, **dict.fromkeys(names, each))
        for order, each in enumerate(errors)
    ]


ODD = {
    "equal": partial(drawing.differences, drawn=chart([1.0], [1.0])),
    "zeros": partial(drawing.differences, drawn=chart([0.0], [0.0], [None])),
    "smallest": partial(drawing.differences, drawn=chart([TINY, 0.0], [0.0, 0.0], [TINY, None])),
    "largest": partial(drawing.differences, drawn=chart([1e299, -1e299], [-9e299, 9e299], [HUGE, None])),
    "one level": partial(drawing.differences, drawn=chart([1.0, 1 + 2**-52], [1.0, 1.0], [0.0, 0.0])),
    "first bin": partial(drawing.error_histograms, drawn=chart([], [], edges=(-324, -323.75))),
    "many": partial(drawing.error_histograms, drawn=chart([], [], [], (308.75, 309), (10**15,))),
    "strip": partial(drawing.strip, found=ErrorStrip(of="row", count=4, relative_l2=[None, TINY, HUGE, 1])),
    "scores": partial(drawing.top5_bars, classes=classes(HUGE, -HUGE, None, TINY)),
    "no score": partial(drawing.top5_bars, classes=classes(0.0)),
    "markup": partial(drawing.top5_bars, classes=classes(1.0, label="</text>\"'\x00\ud800&lt;")),
    "long": partial(drawing.top5_bars, classes=classes(1.0, -1.0, label="猫" * 300)),
    "golden": partial(drawing.golden_bars, errors=against(HUGE, TINY, None)),
    "depth": partial(depth_plot.depths, rows=rows(1e-11, HUGE, math.inf, math.nan, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_drawn_is_inside_of_its_sheet(name: str) -> None:
    inside(ODD[name])


def inside(draw: Callable[[Look], str]) -> None:
    svg = ElementTree.fromstring(draw(Look(title='a "title" <b>', ids="x-")))
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for each in svg.iter():
        for along, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            assert -1 <= float(each.get(along, 0)) <= most + 1, each.attrib
        numbers = re.findall(r"[A-Za-z]+|-?[\d.]+", each.get("d", ""))
        assert not {"nan", "inf"} & set(numbers), each.attrib
        assert all(-12 <= float(n) <= width + 1 for n in numbers if not n.isalpha()), each.attrib
    ids = [each.attrib["id"] for each in svg.iter() if "id" in each.attrib]
    assert len(ids) == len(set(ids)) and all(each.startswith("x-") for each in ids)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0, 305, ["0", "50", "100", "150", "200", "250", "300"]),
        (-0.31, 0.32, ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]),
        (-123456.704, -123456.596, ["-123456.70", "-123456.65", "-123456.60"]),
        (0, 3e9, ["0", "5e+08", "1e+09", "1.5e+09", "2e+09", "2.5e+09", "3e+09"]),
    ],
)
def test_ticks_are_round_and_fit(low: float, high: float, told: list[str]) -> None:
    assert [name for _, name in scales.even(low, high).ticks] == told


@pytest.mark.parametrize(
    "scale",
    [scales.even(-3, 7), scales.powers(1e-9, 1e3), scales.symmetric(0.01, [1e-6, -1e-4])[0]],
)
def test_what_is_larger_is_further_along(scale: scales.Scale) -> None:
    values = [scale.low + (scale.high - scale.low) * (part / 40) ** 5 for part in range(41)]
    shares = [scale.share(value) for value in values]
    assert shares[0] == 0 and shares[-1] == 1
    assert all(one < other for one, other in pairwise(shares))
