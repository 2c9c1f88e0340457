"""The scales of the plots: even, by powers of ten, and by powers of ten either side of 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from unicodedata import east_asian_width

_MOST = 8e307  # the span of larger values leaves fp64
_LEAST = 1e-300
_STEPS = (1, 2, 5, 10, 20)  # times a power of ten, between two ticks


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, at which `curve` makes the values even. `ticks` are its labelled
    values, with lines across the plot if `grid`."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    curve: Callable[[float], float] = float
    grid: bool = True

    def share(self, value: float) -> float:
        """How far the value is from `low` to `high`, 0 to 1; what is beyond an end is there."""
        least, most, start, length = self._ends
        return (self.curve(min(max(value, least), most)) - start) / length

    @cached_property
    def _ends(self) -> tuple[float, float, float, float]:
        start, end = self.curve(self.low), self.curve(self.high)
        return min(self.low, self.high), max(self.low, self.high), start, end - start


def even(low: float, high: float, *, most: int = 8, whole: bool = False) -> Scale:
    """With `most` ticks at round values, perhaps whole numbers only; fewer where their labels are long."""
    low, high = max(low, -_MOST), min(high, _MOST)
    if not high - low > max(_LEAST, 1e-14 * abs(high)):
        high = low + (abs(low) if abs(low) > _LEAST else 1.0)
    ticks = _round(low, high, most, whole)
    while len(ticks) > 2 and sum(width_of(name) + 6 for _, name in ticks) > 240:
        most -= 1
        ticks = _round(low, high, most, whole)
    return Scale(low, high, ticks)


def powers(low: float, high: float, *, most: int = 8) -> Scale:
    """Logarithmic, of values above 0, with ticks at powers of ten."""
    low, high = min(max(low, 1e-320), 1e300), min(high, 1e308)
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    exponents = range(first, last + 1, max(1, math.ceil((last - first) / most)))
    ticks = [(10.0**exponent, ten_to(exponent)) for exponent in exponents]
    return Scale(low, high, ticks, math.log10)


def exponents(low: float, high: float) -> Scale:
    """Of exponents of ten, named as powers."""
    of = even(low, high, whole=True)
    return Scale(low, high, [(value, ten_to(round(value))) for value, _ in of.ticks])


def symmetric(band: float, drawn: Sequence[float]) -> tuple[Scale, float]:
    """Decades either side of 0, with few ticks; nine tenths of what is drawn is above the least of them,
    which is returned too: everything below it is even."""
    sizes = sorted(abs(each) for each in drawn if each and math.isfinite(each)) or [band or 1.0]
    largest = max(sizes[-1], band)
    top = math.ceil(math.log10(largest))
    low = max(min(math.floor(math.log10(sizes[len(sizes) // 10])), top - 1), -300)  # fp64
    least, step = 10.0**low, max(1, math.ceil((top - low) / 4))
    decades = range(top - 1, low - 1, -step)
    ticks = [
        (sign * 10.0**each, "-" * (sign < 0) + ten_to(each)) for each in decades for sign in (1, -1)
    ]

    def curve(value: float) -> float:
        size = abs(value) / least
        return math.copysign(size * 0.6 if size <= 1 else 0.6 + math.log10(size), value)

    end = min(5 * largest, _MOST)
    return Scale(-end, end, [*ticks, (0.0, "0")], curve), least


def rows(names: Sequence[str]) -> Scale:
    """A row for each name, from above; no name takes half of the plot."""
    names = [fitting(name, 150) for name in names]
    return Scale(len(names) - 0.5, -0.5, list(enumerate(names)), grid=False)


def ten_to(exponent: int) -> str:
    """The power of ten, as a text."""
    if exponent == 0:
        return "1"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def width_of(text: str, letters: float = 9.0) -> float:
    """About how long a text is, of letters so high."""
    return letters * sum(1.0 if east_asian_width(each) in "FW" else 0.55 for each in text)


def fitting(name: str, most: float) -> str:
    """The name, cut where it is longer."""
    while width_of(name) > most:
        name = name.removesuffix("…")[:-1] + "…"
    return name


def _round(low: float, high: float, most: int, whole: bool) -> list[tuple[float, str]]:
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    unit = max(unit, 1.0) if whole else unit
    step = next(step for step in (unit * each for each in _STEPS) if (high - low) / step <= most)
    values = [step * each for each in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, _name(value, step)) for value in values]


def _name(value: float, step: float) -> str:
    """The value of a tick, with the digits that set it apart from its neighbours."""
    decimals = math.floor(math.log10(step))
    if -4 <= decimals < 5 and abs(value) < 1e6:
        return f"{value:.{max(0, -decimals)}f}"
    digits = math.log10(abs(value) / step) if value else 0.0
    return f"{value:.{min(1 + math.ceil(digits), 17)}g}"
