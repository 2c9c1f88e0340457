"""One plot for each kind, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kit.accuracy.golden import AgainstGolden
from kit.evidence.latency import Latency
from kit.evidence.types.charts import ErrorStrip, OutputChart, OwnError, RankedClass
from kit.report import scales
from kit.report.scales import Scale
from kit.report.sheet import Look, Sheet

_DEVICE_ERROR, _OWN_ERROR = "device - CPU fp32", "CPU fp32 - golden"
_DOT = "M-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0z"
_DIAMOND = "M0 -3.6L3.6 0L0 3.6L-3.6 0z"


def error_histograms(look: Look, drawn: OutputChart) -> str:
    """How many elements differ by how much, both on log scales: device - CPU fp32, CPU fp32 - golden."""
    own = drawn.own if drawn.own and drawn.own.counts else None
    sides: list[OutputChart | OwnError] = [drawn, own] if own else [drawn]
    edges = [edge for side in sides for edge in side.log10_edges]
    margin = 0.03 * (max(edges) - min(edges))
    x = scales.exponents(min(edges) - margin, max(edges) + margin)
    y = scales.powers(0.7, 1.6 * max(count for side in sides for count in side.counts))
    sheet = Sheet(look, 209, x, y)
    for number, count in enumerate(drawn.counts):
        ends = (drawn.log10_edges[number], drawn.log10_edges[number + 1])
        sheet.box(f"bar-{number}", ends, (0.0, count), "device", edge="panel")
    sheet.tell(_DEVICE_ERROR, "device")
    if own:
        # A tenth of an element where there is none: below the axis, where the line ends at it.
        outline = [own.log10_edges[0], *own.log10_edges, own.log10_edges[-1]]
        sheet.stairs("own", [0.1, *own.counts, 0.1], outline, "reference", 1.4)
        sheet.tell_line(_OWN_ERROR, "reference")
    return sheet.svg("|difference|", "elements")


def differences(look: Look, drawn: OutputChart) -> str:
    """Device - reference against the reference, with ±1% of the largest |reference|, and CPU fp32's own
    difference from the golden at the same points."""
    reference = drawn.reference
    apart = [device - ours for ours, device in zip(reference, drawn.device, strict=True)]
    own = [math.nan if each is None else each for each in drawn.own.difference] if drawn.own else []
    band = 0.01 * max(map(abs, reference))
    y, least = scales.symmetric(band, [*apart, *own])
    low, high = min(reference), max(reference)
    margin = 0.04 * (high - low) or abs(high) or 1.0
    x = scales.even(low - margin, high + margin)
    sheet = Sheet(look, 245, x, y)
    sheet.box("band", (x.low, x.high), (-band or -least, band or least), "band")
    sheet.tell("±1% of max|ref|", "band")
    sheet.across(0.0, "quiet", 0.7)
    sheet.points("points", reference, apart, 2.6)
    sheet.tell(_DEVICE_ERROR, "device", path=_DOT)
    if own:  # one path of short dashes: a tenth of the size of a thousand markers
        dash = 0.004 * (x.high - x.low)
        across = [at for ours in reference for at in (ours - dash, ours + dash, math.nan)]
        level = [at for each in own for at in (each, each, math.nan)]
        sheet.line("own", across, level, "reference", 1.1)
        sheet.tell_line(_OWN_ERROR, "reference")
    return sheet.svg("reference", "difference")


def strip(look: Look, found: ErrorStrip) -> str:
    """Relative L2 along the rows or channels of an output, on a log scale, with the line of 1%."""
    values = [each or 0.0 for each in found.relative_l2]
    edges = [found.count * cell / len(values) for cell in range(len(values) + 1)]
    least = 10.0 ** max(math.floor(math.log10(min(0.01, *filter(None, values)))), -300)
    y = scales.powers(least / 2, 2 * max(0.01, *values), most=5)
    sheet = Sheet(look, 137, scales.even(0, found.count, whole=True), y)
    sheet.stairs("cells", values, edges, "device")
    sheet.across(0.01, "reference", 1.1, "4 2")
    sheet.tell_line("1%", "reference", "4 2")
    return sheet.svg(found.of, "relative L2")


def top5_bars(look: Look, classes: Sequence[RankedClass]) -> str:
    """The scores of the first five of both sides, one above the other."""
    y = scales.rows([_class_name(each) for each in classes])
    scores = [score or 0.0 for each in classes for score in (each.reference, each.device)]
    x = scales.even(1.05 * min(0.0, *scores), 1.05 * max(0.0, *scores), most=5)
    sheet = Sheet(look, 65 + 30.0 * len(classes), x, y)
    for side, fill, shift in (("reference", "band", -0.2), ("device", "device", 0.2)):
        for row, each in enumerate(classes):
            ends = (0.0, getattr(each, side) or 0.0)
            high = (row + shift - 0.18, row + shift + 0.18)
            sheet.box(f"{side}-{row}", ends, high, fill, edge=side)
        sheet.tell(side, fill, edge=side)
    return sheet.svg("score")


def latencies(look: Look, latency: Latency) -> str:
    """Every timed run in its order, with the mean, the median and the 90th percentile if there is one."""
    samples = latency.samples_ms
    x = scales.even(0.5, len(samples) + 0.5, whole=True)
    y = scales.even(0.0, 1.08 * max(samples), most=6)
    sheet = Sheet(look, 195, x, y)
    sheet.points("points", range(1, len(samples) + 1), samples, 4)
    for name, value, dash in (
        ("mean", latency.mean_ms, ""),
        ("p50", latency.p50_ms, "4 2"),
        ("p90", latency.p90_ms, "1 1.5"),
    ):
        if value is not None:  # else there are too few runs for it
            sheet.across(value, "reference", 1.1, dash)
            sheet.tell_line(name, "reference", dash)
    return sheet.svg("timed run", "ms")


def golden_bars(look: Look, errors: Mapping[str, AgainstGolden]) -> str:
    """Both sides' relative L2 against the golden, output by output, on a log scale."""
    y = scales.rows([name or f"#{number}" for number, name in enumerate(errors, 1)])
    sides = {
        "reference": [each.reference.relative_l2 or 0.0 for each in errors.values()],
        "device": [each.device.relative_l2 or 0.0 for each in errors.values()],
    }
    found = [value for values in sides.values() for value in values if value]
    x = _beyond(min(found), max(found))
    sheet = Sheet(look, 65 + 36.0 * len(errors), x, y)
    for side, shift, mark in (("reference", -0.13, _DOT), ("device", 0.13, _DIAMOND)):
        places = [(value, row + shift) for row, value in enumerate(sides[side])]
        for value, at in places:
            sheet.line("", (x.low, value), (at, at), side, 1.6)
        sheet.shape(side, places, mark, side)
        sheet.tell("CPU fp32" if side == "reference" else "device", side, path=mark)
    return sheet.svg("relative L2 against the golden")


def _beyond(least: float, most: float) -> Scale:
    """Powers of ten with room on both sides."""
    return scales.powers(10.0 ** (math.floor(math.log10(least)) - 1), 2 * most, most=5)


def _class_name(found: RankedClass) -> str:
    label = (found.label or "").partition(",")[0]
    return f"{scales.fitting(label, 110)} #{found.index}" if label else f"#{found.index}"
