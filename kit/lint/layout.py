"""The layout of a report: what each line is, and under which headings and points it stands.

Markdown, or the text of a web page, where headings are bare lines, bullets are dots and the columns of
tables are glued together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto


class Is(Enum):
    """What a line is."""

    BLANK = auto()
    HEADING = auto()
    POINT = auto()
    ROW = auto()
    CODE = auto()
    TEXT = auto()


@dataclass(frozen=True)
class Line:
    """One line. `text` is without its marks, `headings` those above it, `points` the bullets around it,
    `header` the cells of its table's first row, `language` that of its block of code."""

    number: int
    what: Is
    text: str
    raw: str
    indent: int = 0
    headings: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    language: str = ""


_POINT = re.compile(r"^(\s*)(?:[\u2022\u00b7\u25e6*+-]|\d{1,3}[.)])\s+(.*)$")
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(\S.*)$")
# A bold line is a heading, unless it ends as a sentence does.
_BOLD = re.compile(r"^(?:\*\*|__)([^*_:=]{0,79}[^*_:=.。!?])(?:\*\*|__)\s*:?$")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([\w+-]*)")
_RULE = re.compile(r"^\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?$")
_DEEPEST = 8  # points within points
_ESCAPED = "\ue000"  # a pipe that is text, while a row is taken apart


def lay_out(lines: Sequence[str]) -> list[Line]:
    """Every line with its place."""
    laid = _told_apart(lines)
    title = _title(laid)
    here = _Place()
    following = [*laid[1:], Line(0, Is.BLANK, "", "")]
    placed = [here.place(line, after) for line, after in zip(laid, following, strict=True)]
    return [
        replace(line, headings=line.headings[1:]) if line.headings[:1] == title else line
        for line in placed
    ]


def _told_apart(lines: Sequence[str]) -> list[Line]:
    """What each line is by itself and its neighbours. The YAML at the top is code in no language."""
    laid: list[Line] = []
    markdown = any(_HEADING.match(line) for line in lines)
    fence, language = ("---", "front matter") if lines[0].strip() == "---" else ("", "")
    around = ["", *lines, ""]
    for number, raw in enumerate(lines, start=1):
        mark = _FENCE.match(raw)
        if language == "front matter":
            laid.append(Line(number, Is.CODE, raw.strip(), raw, language=language))
            fence, language = ("", "") if number > 1 and raw.strip() == fence else (fence, language)
        elif mark and (not fence or mark[1].startswith(fence)):
            fence, language = ("", "") if fence else (mark[1], mark[2].lower())
            laid.append(Line(number, Is.CODE, "", raw))
        elif fence:
            laid.append(Line(number, Is.CODE, raw.strip(), raw, language=language))
        else:
            alone = not around[number - 1].strip() and not around[number + 1].strip()
            in_table = bool(laid) and laid[-1].what is Is.ROW
            laid.append(_plain(number, raw, alone and not markdown, in_table))
    return laid


def _plain(number: int, raw: str, alone: bool, in_table: bool) -> Line:
    """A line outside code; one that stands alone is a heading where nothing else marks headings."""
    text, indent = _unmarked(raw), len(raw) - len(raw.lstrip())
    if not raw.strip():
        return Line(number, Is.BLANK, "", raw)
    if heading := _HEADING.match(raw):
        title = _unmarked(heading[2].rstrip("# "))
        return Line(number, Is.HEADING, title, raw, indent=len(heading[1]))
    if bold := _BOLD.match(raw.strip()):
        return Line(number, Is.HEADING, _unmarked(bold[1]), raw, indent=7)
    if raw.lstrip().startswith("|") or (in_table and "|" in raw):
        return Line(number, Is.ROW, text, raw, indent=indent, cells=_cells(raw))
    if point := _POINT.match(raw):
        return Line(number, Is.POINT, _unmarked(point[2]), raw, indent=indent)
    if alone and len(text) <= 60 and not re.search(r"[。.,;:=!?]$|[=:]\s", text):
        return Line(number, Is.HEADING, text, raw, indent=1)
    return Line(number, Is.TEXT, text, raw, indent=indent)


@dataclass
class _Place:
    """Where the reader is: open headings and points with their depth, the header of the table in hand."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    points: list[tuple[int, str]] = field(default_factory=list)
    header: tuple[str, ...] = ()

    def place(self, line: Line, after: Line) -> Line:
        """The same line with its headings, points and table header."""
        self._enter(line)
        begins_table = not self.header and _RULE.match(after.raw.strip())
        if line.what is Is.ROW and (begins_table or _RULE.match(line.raw.strip())):
            self.header = self.header or line.cells
            line = replace(line, cells=())
        headings = tuple(text for _, text in self.headings)
        points = tuple(text for _, text in self.points)
        if line.what is Is.POINT:
            self.points = [*self.points, (line.indent, line.text)][-_DEEPEST:]
        return replace(line, headings=headings, points=points, header=self.header)

    def _enter(self, line: Line) -> None:
        """Leave what ends with this line."""
        if line.what is not Is.ROW:
            self.header = ()
        if line.what is Is.HEADING:
            self.headings = [each for each in self.headings if each[0] < line.indent]
            self.headings.append((line.indent, line.text))
            self.points = []
        elif line.what is Is.POINT:
            self.points = [each for each in self.points if each[0] < line.indent]
        elif line.what is Is.TEXT and line.text.endswith(":"):  # "Sample 1:" above a list
            self.points = [(-1, line.text)]
        elif line.what is Is.TEXT and not line.indent:
            self.points = []
        elif line.what in (Is.ROW, Is.CODE) and not line.indent:  # the list has ended
            self.points = [each for each in self.points if each[0] < 0]


def _title(lines: Sequence[Line]) -> tuple[str, ...]:
    """The one heading above all others: it is of the whole, and tells no part from another."""
    headings = [line for line in lines if line.what is Is.HEADING]
    top = [line for line in headings if line.indent == min(each.indent for each in headings[:50])]
    alone = len(top) == 1 and top == headings[:1]
    return (top[0].text,) if alone and (top[0].indent == 1 or len(headings) > 1) else ()


def _cells(raw: str) -> tuple[str, ...]:
    inner = raw.strip().replace("\\|", _ESCAPED).removeprefix("|").removesuffix("|")
    return tuple(_unmarked(cell).replace(_ESCAPED, "|").strip() for cell in inner.split("|"))


def _unmarked(text: str) -> str:
    """Text without the marks of bold and code, and without a bullet's check box."""
    plain = re.sub(r"\*\*|`", "", text).replace("\\_", "_").replace("\\|", "|")
    return re.sub(r"^\[[ xX]\]\s", "", plain.strip())
