"""A plot as SVG: two axes with their ticks, what is marked between them, and a legend in one line.

One drawing serves every place it goes to: its Look has the colours, the language and the ids of that place.
Groups of data carry an id: points, bar-N, ... No library draws: one takes seconds for a run of T5, and its
files differ from version to version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from kit.errors import visible
from kit.report.colours import LIGHT
from kit.report.scales import Scale, width_of

_WIDTH = 316.8  # at which letters of 9 are read on a phone as on a desk
_RIGHT, _TOP, _BOTTOM = 9.0, 22.0, 35.0
_PIXELS = 1.5  # of a point, where nothing else says how large an image is
_LETTERS, _SMALLER = 9.0, 8.5  # heights of the letters
_FONTS = "'DejaVu Sans', Verdana, 'Segoe UI', sans-serif"


@dataclass(frozen=True)
class Look:
    """What a place makes of a plot: colours by the names of kit/report/colours.py, a text's words in its
    language, and what goes before every id, so that several plots can share a page. `title` says what is
    to be seen."""

    colours: Mapping[str, str] = field(default_factory=lambda: LIGHT)
    label: Callable[[str], str] = str
    ids: str = ""
    title: str = ""


class Sheet:
    """A plot in the making. Every mark is in the units of the data."""

    def __init__(self, look: Look, height: float, x: Scale, y: Scale) -> None:
        self._look, self._height, self._x, self._y = look, height, x, y
        self._left = max(46.0, 24 + max((width_of(name) for _, name in y.ticks), default=0.0))
        self._marks: list[str] = []
        self._legend: list[tuple[str, str]] = []

    def points(self, id: str, x: Iterable[float], y: Iterable[float], size: float) -> None:
        """A dot at each pair."""
        at = (map(_n, self._at(*pair)) for pair in zip(x, y, strict=True))
        dots = (f'<circle cx="{across}" cy="{up}" r="{size / 2}"/>' for across, up in at)
        self._group(id, "".join(dots), fill=self._colour("device"))

    def line(
        self,
        id: str,
        x: Iterable[float],
        y: Iterable[float],
        colour: str,
        width: float,
        dash: str = "",
    ) -> None:
        """A line through the pairs, with a gap where one is not a number."""
        drawn, steps = False, []
        for pair in zip(x, y, strict=True):
            known = not any(map(math.isnan, pair))
            if known:
                steps.append(f"{'L' if drawn else 'M'}{' '.join(map(_n, self._at(*pair)))}")
            drawn = known
        self._group(id, element("path", d="".join(steps)), **self._stroke(colour, width, dash))

    def stairs(self, id: str, values: Sequence[float], edges: Sequence[float], colour: str,
               width: float | None = None) -> None:  # fmt: skip
        """Each value between two neighbours of the edges: filled down to the axis, or as a line of that
        width."""
        x = [edge for pair in pairwise(edges) for edge in pair]
        y = [value for value in values for _ in range(2)]
        if width is not None:
            return self.line(id, x, y, colour, width)
        tops = "L".join(" ".join(map(_n, self._at(*pair))) for pair in zip(x, y, strict=True))
        ends = (self._at(edge, self._y.low) for edge in (edges[0], edges[-1]))
        start, end = (" ".join(map(_n, each)) for each in ends)
        shape = element("path", d=f"M{start}L{tops}L{end}z")
        return self._group(id, shape, fill=self._colour(colour))

    def box(
        self, id: str, x: tuple[float, float], y: tuple[float, float], fill: str, edge: str = ""
    ) -> None:
        """A rectangle, perhaps with an edge in another colour."""
        sides = zip(self._at(x[0], y[0]), self._at(x[1], y[1]), strict=True)
        (left, right), (top, bottom) = map(sorted, sides)
        shape = f"M{_n(left)} {_n(top)}H{_n(right)}V{_n(bottom)}H{_n(left)}z"
        self._marks.append(
            element("path", d=shape, id=self._look.ids + id, **self._fill(fill, edge))
        )

    def shape(self, id: str, places: Iterable[tuple[float, float]], path: str, colour: str) -> None:
        """A small shape, an SVG path around 0 0, at each place."""
        ats = [" ".join(map(_n, self._at(*place))) for place in places]
        shapes = (element("path", d=path, transform=f"translate({at})") for at in ats)
        self._group(id, "".join(shapes), fill=self._colour(colour))

    def across(self, y: float, colour: str, width: float, dash: str = "") -> None:
        """A horizontal line through the whole plot."""
        self.line("", (self._x.low, self._x.high), (y, y), colour, width, dash)

    def tell(self, name: str, colour: str, *, path: str = "M-6 -3H6V3H-6z", edge: str = "") -> None:
        """Name what was drawn as a box, or as another shape (an SVG path around 0 0), in the legend."""
        self._legend.append(
            (self._look.label(name), element("path", d=path, **self._fill(colour, edge)))
        )

    def tell_line(self, name: str, colour: str, dash: str = "") -> None:
        """Name what was drawn as a line in the legend."""
        shown = element("path", d="M-6 0H6", **self._stroke(colour, 1.3, dash))
        self._legend.append((self._look.label(name), shown))

    def svg(self, x: str, y: str = "") -> str:
        """The finished plot, with the names of its axes."""
        size = {"width": _n(_PIXELS * _WIDTH), "height": _n(_PIXELS * self._height)}
        name = {"aria_label": self._look.title, "class": "plot", "id": f"{self._look.ids}plot"}
        paper = element("rect", width="100%", height="100%", fill=self._colour("panel"))
        parts = [paper, self._grid(), *self._marks, self._axes(x, y), self._named()]
        if self._look.title:
            parts.insert(0, element("title", _shown(self._look.title)))
        return element(
            "svg",
            "\n".join(["", *parts, ""]),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_WIDTH} {_n(self._height)}",
            role="img",
            font_family=_FONTS,
            font_size=_LETTERS,
            **size,
            **name if self._look.title else {},
        )

    def _grid(self) -> str:
        lines = [f"M{_n(self._at_x(at))} {_TOP}V{_n(self._bottom)}" for at, _ in self._x.ticks]
        if self._y.grid:
            lines += [
                f"M{self._left} {_n(self._at_y(at))}H{_WIDTH - _RIGHT}" for at, _ in self._y.ticks
            ]
        return element("path", d="".join(lines), **self._stroke("rule", 0.7))

    def _axes(self, x: str, y: str) -> str:
        """Both axes, their ticks, and the texts beside them."""
        quiet, ink = self._colour("quiet"), self._colour("ink")
        bottom, middle = self._bottom, (_TOP + self._bottom) / 2
        lines = f"M{self._left} {_TOP}V{_n(bottom)}H{_WIDTH - _RIGHT}"
        texts = []
        for value, name in self._x.ticks:
            right = self._at_x(value)
            lines += f"M{_n(right)} {_n(bottom)}v3.5"
            inside = min(right, _WIDTH - 1 - width_of(name) / 2)
            texts.append(_text(name, _n(inside), _n(bottom + 13.5), quiet, "middle"))
        for value, name in self._y.ticks:
            at = self._at_y(value)
            lines += f"M{self._left} {_n(at)}h-3.5"
            texts.append(_text(name, _n(self._left - 7), _n(at + 3.2), quiet, "end"))
        below = (_n((self._left + _WIDTH - _RIGHT) / 2), _n(bottom + 27))
        texts.append(_text(self._look.label(x), *below, ink, "middle"))
        if y:
            turn = f"rotate(-90 10 {_n(middle)})"
            texts.append(
                _text(self._look.label(y), "10", _n(middle), ink, "middle", transform=turn)
            )
        return "\n".join((element("path", d=lines, **self._stroke("quiet", 0.8)), *texts))

    def _named(self) -> str:
        """The legend, from the right."""
        at, parts = _WIDTH - _RIGHT, []
        for name, shown in reversed(self._legend):
            at -= width_of(name, _SMALLER)
            ink = self._colour("ink")
            parts.append(_text(name, _n(at), "14", ink, "start", font_size=_SMALLER))
            parts.append(f'<g transform="translate({_n(at - 9)} 11)">{shown}</g>')
            at -= 24
        return "\n".join(parts)

    def _group(self, id: str, inside: str, **look: str) -> None:
        named = {"id": self._look.ids + id} if id else {}
        self._marks.append(element("g", inside, **named, **look))

    def _fill(self, colour: str, edge: str) -> dict[str, str]:
        return (self._stroke(edge, 0.8) if edge else {}) | {"fill": self._colour(colour)}

    def _stroke(self, colour: str, width: float, dash: str = "") -> dict[str, str]:
        look = {"fill": "none", "stroke": self._colour(colour), "stroke_width": f"{width:g}"}
        return look | ({"stroke_dasharray": dash} if dash else {})

    def _colour(self, name: str) -> str:
        return self._look.colours[name]

    @property
    def _bottom(self) -> float:
        return self._height - _BOTTOM

    def _at_x(self, value: float) -> float:
        return self._left + self._x.share(value) * (_WIDTH - _RIGHT - self._left)

    def _at_y(self, value: float) -> float:
        return self._bottom - self._y.share(value) * (self._bottom - _TOP)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._at_x(x), self._at_y(y)


def element(tag: str, inside: str = "", /, **attributes: object) -> str:
    """An SVG element around what is SVG already; its attributes are escaped here, their `_` are hyphens."""
    told = "".join(
        f' {name.replace("_", "-")}="{_shown(str(value))}"' for name, value in attributes.items()
    )
    return f"<{tag}{told}>{inside}</{tag}>" if inside else f"<{tag}{told}/>"


def _text(text: str, x: str, y: str, fill: str, anchor: str, **more: object) -> str:
    return element("text", _shown(text), x=x, y=y, fill=fill, text_anchor=anchor, **more)


def _shown(text: str) -> str:
    return escape(visible(text))


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
