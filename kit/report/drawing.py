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

    from kit.accuracy.golden import AgainstGolden
    from kit.evidence.latency import Latency
    from kit.evidence.types.charts import ErrorStrip, OutputChart, RankedClass

_DEVICE_ERROR, _OWN_ERROR = "device - CPU fp32", "CPU fp32 - golden"
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


def error_histograms(drawn: OutputChart) -> Figure:
    """How many elements differ by how much, both on log scales: device - CPU fp32, CPU fp32 - golden."""
    figure, axes = blank(2.9)
    edges = drawn.log10_edges
    look: Any = {"color": LIGHT["device"], "edgecolor": LIGHT["panel"], "linewidth": 0.6}
    width = edges[1] - edges[0]
    bars = axes.bar(edges[:-1], drawn.counts, width, align="edge", label=_DEVICE_ERROR, **look)
    _name(bars, "bar")
    if drawn.own and drawn.own.counts:
        line: Any = {"color": LIGHT["reference"], "linewidth": 1.4, "gid": "own"}
        axes.stairs(drawn.own.counts, drawn.own.log10_edges, baseline=0.5, label=_OWN_ERROR, **line)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    powers(axes.yaxis)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.xaxis.set_major_formatter(lambda value, _: _ten_to(value))
    axes.set(xlabel="|difference|", ylabel="elements")
    legend_above(axes)
    return figure


def differences(drawn: OutputChart) -> Figure:
    """Device - reference against the reference, with ±1% of the largest |reference|, and CPU fp32's own
    difference from the golden at the same points."""
    figure, axes = blank(3.4)
    reference = drawn.reference
    apart = [device - ours for ours, device in zip(reference, drawn.device, strict=True)]
    own = [math.nan if each is None else each for each in drawn.own.difference] if drawn.own else []
    band = 0.01 * max(map(abs, reference))
    least, most = _symmetric_log(axes, band, [*apart, *own])
    low, high = min(reference), max(reference)
    margin = 0.04 * (high - low) or abs(high) or 1.0
    axes.set(xlim=(low - margin, high + margin), ylim=(-most, most))
    axes.axhspan(-band or -least, band or least, color=LIGHT["band"], linewidth=0, gid="band",
                 label="±1% of max|ref|")  # fmt: skip
    axes.axhline(0, color=LIGHT["quiet"], linewidth=0.7)
    _points(axes, reference, apart, 2.6, label=_DEVICE_ERROR)
    if own:  # one path of short dashes: a tenth of the size of a thousand markers
        dash = 0.004 * (high - low + 2 * margin)
        across = [x for ours in reference for x in (ours - dash, ours + dash, math.nan)]
        level = [y for each in own for y in (each, each, math.nan)]
        axes.plot(across, level, color=LIGHT["reference"], linewidth=1.1, gid="own",
                  label=_OWN_ERROR)  # fmt: skip
    axes.set(xlabel="reference", ylabel="difference")
    legend_above(axes)
    return figure


def strip(found: ErrorStrip) -> Figure:
    """Relative L2 along the rows or channels of an output, on a log scale, with the line of 1%."""
    figure, axes = blank(1.9)
    values = [each or 0.0 for each in found.relative_l2]
    edges = [found.count * cell / len(values) for cell in range(len(values) + 1)]
    least = 10.0 ** max(math.floor(math.log10(min(0.01, *filter(None, values)))), -300)
    axes.stairs(values, edges, baseline=least / 2, fill=True, color=LIGHT["device"], gid="cells")
    axes.axhline(0.01, color=LIGHT["reference"], linewidth=1.1, linestyle="--", label="1%")
    axes.set_yscale("log")
    axes.set(xlim=(0, found.count), ylim=(least / 2, 2 * max(0.01, *values)))
    powers(axes.yaxis)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.set(xlabel=found.of, ylabel="relative L2")
    legend_above(axes)
    return figure


def top5_bars(classes: Sequence[RankedClass]) -> Figure:
    """The scores of the first five of both sides, one above the other."""
    names = [_class_name(each) for each in classes]
    figure, axes = blank(0.9 + 0.42 * len(classes), left=_beside(names))
    for side, shift in (("reference", -0.2), ("device", 0.2)):
        rows = [row + shift for row in range(len(classes))]
        scores = [getattr(each, side) or 0.0 for each in classes]
        hatch = "////" if side == "device" else None
        look: Any = {"color": LIGHT[side], "edgecolor": LIGHT["panel"], "linewidth": 0}
        bars = axes.barh(rows, scores, 0.36, hatch=hatch, label=side, **look)
        _name(bars, side)
    axes.set_yticks(range(len(classes)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("score")
    legend_above(axes)
    return figure


def latencies(latency: Latency) -> Figure:
    """Every timed run in its order, with the mean, the median and the 90th percentile if there is one."""
    figure, axes = blank(2.7)
    samples = latency.samples_ms
    _points(axes, range(1, len(samples) + 1), samples, 4)
    for name, key, line in (
        ("mean", "mean_ms", "-"),
        ("p50", "p50_ms", "--"),
        ("p90", "p90_ms", ":"),
    ):
        if (value := getattr(latency, key)) is not None:  # else there are too few runs for it
            look: Any = {"color": LIGHT["reference"], "linewidth": 1.1, "linestyle": line}
            axes.axhline(value, label=name, **look)
    axes.set(ylim=(0, 1.08 * max(samples)), xlabel="timed run", ylabel="ms")
    axes.xaxis.set_major_locator(whole_numbers())
    legend_above(axes)
    return figure


def golden_bars(errors: Mapping[str, AgainstGolden]) -> Figure:
    """Both sides' relative L2 against the golden, output by output, on a log scale."""
    names = [_drawable(name)[:28] or f"#{number}" for number, name in enumerate(errors, 1)]
    figure, axes = blank(0.9 + 0.5 * len(errors), left=_beside(names))
    found = [side.relative_l2 for each in errors.values() for side in (each.reference, each.device)]
    least = 10.0 ** (math.floor(math.log10(min(value for value in found if value))) - 1)
    for side, shift, marker in (("reference", -0.13, "o"), ("device", 0.13, "D")):
        values = [getattr(each, side).relative_l2 or least for each in errors.values()]
        rows = [row + shift for row in range(len(values))]
        axes.hlines(rows, least, values, color=LIGHT[side], linewidth=1.6)
        label = "CPU fp32" if side == "reference" else "device"
        axes.plot(values, rows, marker, color=LIGHT[side], markersize=5, label=label, gid=side)
    axes.set_xscale("log")
    axes.set_xlim(left=least)
    powers(axes.xaxis)
    axes.set_yticks(range(len(errors)), names)
    axes.set_ylim(len(errors) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("relative L2 against the golden")
    legend_above(axes)
    return figure


def _points(axes: Axes, x: Sequence[float], y: Sequence[float], size: float, **more: Any) -> None:
    look: Any = {"marker": "o", "markersize": size, "markerfacecolor": LIGHT["device"]}
    axes.plot(x, y, linestyle="none", markeredgewidth=0, gid="points", **look, **more)


def powers(axis: Any) -> None:
    """Ticks at powers of ten, called so."""
    axis.set_major_formatter(_power)
    axis.set_minor_locator(_none())


def _symmetric_log(axes: Axes, band: float, drawn: Sequence[float]) -> tuple[float, float]:
    """Scale the differences by decades either side of 0, with few ticks. Returns the ends of a side:
    nine tenths of what is drawn is above the first, everything below the second."""
    from matplotlib.ticker import FixedLocator

    sizes = sorted(abs(each) for each in drawn if each) or [band or 1.0]
    sizes = [each for each in sizes if math.isfinite(each)]
    top = math.ceil(math.log10(max(sizes[-1], band)))
    low = max(
        min(math.floor(math.log10(sizes[len(sizes) // 10])), top - 1), -300
    )  # above 0 in fp64
    step = max(1, math.ceil((top - low) / 4))
    decades = [10.0**exponent for exponent in range(top - 1, low - 1, -step)]
    axes.set_yscale("symlog", linthresh=10.0**low, linscale=0.6)
    axes.yaxis.set_major_locator(FixedLocator([*(-each for each in decades), 0, *decades]))
    axes.yaxis.set_minor_locator(_none())
    axes.yaxis.set_major_formatter(_signed_power)
    return 10.0**low, 5 * max(sizes[-1], band)


def blank(height: float, left: float = 0.64) -> tuple[Figure, Axes]:
    """A figure of that height, its axes `left` from its side; inches."""
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


def legend_above(axes: Axes) -> None:
    """The legend in one line."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0, fontsize=8.5,
                columnspacing=1.2, handlelength=1.5)  # fmt: skip


def _name(bars: Any, name: str) -> None:
    for number, bar in enumerate(bars):
        bar.set_gid(f"{name}-{number}")


def whole_numbers() -> Any:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=8, integer=True)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _power(value: float, _: float) -> str:
    return _ten_to(math.log10(value)) if value > 0 else ""


def _signed_power(value: float, _: float) -> str:
    return ("-" if value < 0 else "") + _power(abs(value), 0) if value else "0"


def _ten_to(exponent: float) -> str:
    if exponent == 0:
        return "1"
    return "10" + f"{exponent:g}".translate(str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·"))


def _class_name(found: RankedClass) -> str:
    label = _drawable((found.label or "").partition(",")[0])
    number = f"#{found.index}"
    return f"{label[:24]} {number}" if label else number


def _drawable(text: str) -> str:
    """The text, empty where the plots' font lacks one of its characters: a box would be drawn."""
    return text if all(ord(character) in _characters() for character in text) else ""


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
