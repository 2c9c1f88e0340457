"""The colours of page and plots, once for a light and once for a dark background.

The two data colours are Okabe and Ito's blue and vermilion, which colour-blind readers tell apart
(lighter ones of their set on dark); the plots set them apart by shape too.
"""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "paper": "#fbfaf7",
    "panel": "#fffffe",
    "ink": "#1d2126",
    "quiet": "#5d656f",
    "rule": "#dfddd6",
    "reference": "#0072b2",
    "device": "#d55e00",
    "band": "#dcebf4",
    "good": "#1b6e45",
    "bad": "#a8261c",
    "caution": "#8a5a00",
}
DARK: Mapping[str, str] = {
    "paper": "#14171b",
    "panel": "#1b1f24",
    "ink": "#e8e6e1",
    "quiet": "#a3abb5",
    "rule": "#343a42",
    "reference": "#56b4e9",
    "device": "#f0a04b",
    "band": "#1f3442",
    "good": "#6fcf97",
    "bad": "#ff8a7a",
    "caution": "#e6b450",
}
