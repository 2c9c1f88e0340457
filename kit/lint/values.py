"""What a value says: a figure with the digits it was printed with, or yes or no."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from kit.lint.words import says

_MANTISSA = r"(?:\d{1,3}(?:,\d{3}){1,4}(?!\d)|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40}"
_EXPONENT = r"[eE][-+\u2212]?\d{1,3}|\s?[x\u00d7*]\s?10\s?\^?\s?[-\u2212]?\d{1,3}"
NUMBER = rf"[-+\u2212]?(?:{_MANTISSA})(?:{_EXPONENT})?"
_FIGURE = re.compile(
    rf"^[~\u2248<>=\u2264\u2265\s]{{0,6}}(?:\u7ea6|\u4e3a)?\s?({NUMBER})\s?(ms|\u6beb\u79d2|s\b|\u79d2|us|\u03bcs|%)?"
)
_TIMES_TEN = re.compile(r"\s?[x\u00d7*]\s?10\s?\^?\s?")
# To milliseconds, and to shares of one.
_SCALES = {"s": "1000", "秒": "1000", "us": "0.001", "μs": "0.001", "%": "0.01"}


@dataclass(frozen=True, order=True)
class Figure:
    """A number as printed; `unit` is one unit of its last digit."""

    value: Decimal
    unit: Decimal

    def same(self, other: Figure) -> bool:
        """Whether one number, rounded to the digits of each, can be both."""
        if self.unit == other.unit:
            return self.value == other.value
        return abs(self.value - other.value) <= (self.unit + other.unit) / 2


def figure(text: str) -> Figure | None:
    """The number that a value begins with: in milliseconds where it is a time, a share where a %."""
    found = _FIGURE.match(text)
    if not found:
        return None
    plain = _TIMES_TEN.sub("e", found[1].replace("\u2212", "-").replace(",", ""))
    value = Decimal(plain)
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # the pattern takes no NaN and no infinity
    scale = Decimal(_SCALES.get(found[2] or "", "1"))
    return Figure(value * scale, _unit(value, exponent) * scale)


def _unit(value: Decimal, exponent: int) -> Decimal:
    # "0" and "1" are exact, or nearly: read as figures of no decimals they would equal 0.4.
    if exponent >= 0 and abs(value) <= 1:
        return Decimal(0) if value == 0 else Decimal("0.001")
    return Decimal(1).scaleb(exponent)


def flag(text: str) -> bool | None:
    """Yes or no; None where the value is neither, or goes on as a sentence ("true only where ...")."""
    for answer, thing in ((False, "no"), (True, "yes")):
        found = says(thing, text)
        if found and found.start() == 0:
            rest = text[found.end() : found.end() + 1]
            symbol = found[0] in "✅✔✓☑❌✗✘"
            return answer if symbol or not (rest.isalnum() or rest == "_") else None
    return None
