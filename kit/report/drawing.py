"""One figure for each kind of plot, in one style. Groups of data carry an id: points, bar-N, ..."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from kit.report.colours import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 4.4  # inches, at which 9 points are read on a phone as on a desk
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a label may hold anything
    "axes.facecolor": LIGHT["panel"],
    "axes.edgecolor": LIGHT["quiet"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.7,
    "xtick.color": LIGHT["quiet"],
    "ytick.color": LIGHT["quiet"],
    "xtick.labelcolor": LIGHT["quiet"],
    "ytick.labelcolor": LIGHT["quiet"],
    "legend.frameon": False,
    "figure.facecolor": LIGHT["panel"],
    "figure.edgecolor": LIGHT["panel"],
    "savefig.facecolor": LIGHT["panel"],
    "svg.fonttype": "none",
    "svg.hashsalt": "kit",
}


@contextmanager
def style() -> Iterator[None]:
    """What every figure is made under, and saved."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def error_histogram(drawn: Mapping[str, Any]) -> Figure:
    """How many elements differ by how much, both on log scales."""
    figure, axes = _figure(2.7)
    edges = drawn["log10_edges"]
    bars = axes.bar(
        edges[:-1],
        drawn["counts"],
        width=edges[1] - edges[0],
        align="edge",
        color=LIGHT["device"],
        edgecolor=LIGHT["panel"],
        linewidth=0.6,
    )
    _name(bars, "bar")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_formatter(_power)
    axes.yaxis.set_minor_locator(_none())
    axes.xaxis.set_major_locator(_whole())
    axes.xaxis.set_major_formatter(lambda value, _: _ten_to(value))
    axes.set_xlabel("|device - reference|")
    axes.set_ylabel("elements")
    return figure


def scatter(drawn: Mapping[str, Any]) -> Figure:
    """The device's values against the reference's, with the band of ±1% of the largest |reference|."""
    figure, axes = _figure(3.6)
    reference, device = drawn["reference"], drawn["device"]
    low, high = min(reference), max(reference)
    margin = 0.04 * (high - low) or abs(high) or 1.0
    ends = [low - margin, high + margin]
    band = 0.01 * max(abs(low), abs(high))
    axes.fill_between(
        ends,
        [end - band for end in ends],
        [end + band for end in ends],
        color=LIGHT["band"],
        linewidth=0,
        gid="band",
        label="±1% of max|reference|",
    )
    axes.plot(ends, ends, color=LIGHT["reference"], linewidth=0.8, label="device = reference")
    axes.plot(
        reference,
        device,
        linestyle="none",
        marker="o",
        markersize=2.6,
        markerfacecolor=LIGHT["device"],
        markeredgewidth=0,
        gid="points",
    )
    axes.set_xlim(*ends)
    axes.set_xlabel("reference")
    axes.set_ylabel("device")
    _legend_above(axes)
    return figure


def top5_bars(classes: Sequence[Mapping[str, Any]]) -> Figure:
    """The scores of the first five of both sides, one above the other."""
    names = [_class_name(each) for each in classes]
    figure, axes = _figure(0.9 + 0.42 * len(classes), left=_beside(names))
    for side, shift in (("reference", -0.2), ("device", 0.2)):
        bars = axes.barh(
            [row + shift for row in range(len(classes))],
            [each[side] or 0.0 for each in classes],
            height=0.36,
            color=LIGHT[side],
            hatch="////" if side == "device" else None,
            edgecolor=LIGHT["panel"],
            linewidth=0,
            label=side,
        )
        _name(bars, side)
    axes.set_yticks(range(len(classes)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("score")
    _legend_above(axes)
    return figure


def latencies(latency: Mapping[str, Any]) -> Figure:
    """Every timed run in its order, with the mean, the median and the 90th percentile if there is one."""
    figure, axes = _figure(2.7)
    samples = latency["samples_ms"]
    axes.plot(
        range(1, len(samples) + 1),
        samples,
        linestyle="none",
        marker="o",
        markersize=4,
        markerfacecolor=LIGHT["device"],
        markeredgewidth=0,
        gid="points",
    )
    for name, key, line in (
        ("mean", "mean_ms", "-"),
        ("p50", "p50_ms", "--"),
        ("p90", "p90_ms", ":"),
    ):
        if latency[key] is None:  # too few runs for it
            continue
        axes.axhline(
            latency[key], color=LIGHT["reference"], linewidth=1.1, linestyle=line, label=name
        )
    axes.set_ylim(bottom=0, top=1.08 * max(samples))
    axes.xaxis.set_major_locator(_whole())
    axes.set_xlabel("timed run")
    axes.set_ylabel("ms")
    _legend_above(axes)
    return figure


def truth_bars(truths: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Both sides' relative L2 against fp64, output by output, on a log scale."""
    names = [_drawable(name)[:28] or f"#{number}" for number, name in enumerate(truths, 1)]
    figure, axes = _figure(0.9 + 0.5 * len(truths), left=_beside(names))
    found = [
        truth[side]["relative_l2"] for truth in truths.values() for side in ("reference", "device")
    ]
    least = 10.0 ** (math.floor(math.log10(min(value for value in found if value))) - 1)
    for side, shift, marker in (("reference", -0.13, "o"), ("device", 0.13, "D")):
        values = [truth[side]["relative_l2"] or least for truth in truths.values()]
        rows = [row + shift for row in range(len(values))]
        axes.hlines(rows, least, values, color=LIGHT[side], linewidth=1.6)
        label = "CPU fp32" if side == "reference" else "device"
        axes.plot(values, rows, marker, color=LIGHT[side], markersize=5, label=label, gid=side)
    axes.set_xscale("log")
    axes.set_xlim(left=least)
    axes.xaxis.set_major_formatter(_power)
    axes.xaxis.set_minor_locator(_none())
    axes.set_yticks(range(len(truths)), names)
    axes.set_ylim(len(truths) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("relative L2 against fp64")
    _legend_above(axes)
    return figure


def _figure(height: float, left: float = 0.64) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    # Inches: margins of our own take a tenth of the time of matplotlib's layout engines.
    right, top, bottom = 0.12, 0.3, 0.48
    box = (left / _WIDTH, bottom / height, 1 - (left + right) / _WIDTH, 1 - (top + bottom) / height)
    return figure, figure.add_axes(box)


def _beside(names: Sequence[str]) -> float:
    """Inches that names on the left take: characters of 9 points are about 0.08 wide."""
    return 0.2 + 0.08 * max(map(len, names))


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0, fontsize=8.5)


def _name(bars: Any, name: str) -> None:
    for number, bar in enumerate(bars):
        bar.set_gid(f"{name}-{number}")


def _whole() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=8, integer=True)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _power(value: float, _: float) -> str:
    return _ten_to(math.log10(value)) if value > 0 else ""


def _ten_to(exponent: float) -> str:
    if exponent == 0:
        return "1"
    return "10" + f"{exponent:g}".translate(str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·"))


def _class_name(found: Mapping[str, Any]) -> str:
    label = _drawable((found["label"] or "").partition(",")[0])
    number = f"#{found['index']}"
    return f"{label[:24]} {number}" if label else number


def _drawable(text: str) -> str:
    """The text, empty where the plots' font lacks one of its characters: a box would be drawn."""
    return text if all(ord(character) in _characters() for character in text) else ""


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
