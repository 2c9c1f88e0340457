"""The layout of a report: what each line is, and under which headings and points it stands.

Markdown, or the text of a web page, where headings are bare lines, bullets are dots and the columns of
tables are glued together. Full-width signs are read as the plain ones (NFKC).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from kit.lint.text import MOST_COLUMNS


class Is(Enum):
    """What a line is."""

    BLANK = auto()
    HEADING = auto()
    POINT = auto()
    ROW = auto()
    CODE = auto()
    FRONT = auto()
    TEXT = auto()


@dataclass(frozen=True)
class Line:
    """One line. `text` is without its marks, `headings` those above it, `points` the bullets around it,
    `header` the cells of its table's first row."""

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
    return _placed(_told_apart(lines))


def _told_apart(lines: Sequence[str]) -> list[Line]:
    """What each line is by itself and its neighbours."""
    laid: list[Line] = []
    fence, language, comment = "", "", False
    front = _front_matter(lines)
    markdown = any(_HEADING.match(line[:MOST_COLUMNS]) for line in lines)
    for number, whole in enumerate(lines, start=1):
        raw = unicodedata.normalize("NFKC", whole[:MOST_COLUMNS])[:MOST_COLUMNS]
        mark = _FENCE.match(raw)
        if number <= front:
            laid.append(Line(number, Is.FRONT, raw.strip(), raw, indent=_indent(raw)))
        elif mark and (not fence or mark[1].startswith(fence)):
            fence, language = ("", "") if fence else (mark[1], mark[2].lower())
            laid.append(Line(number, Is.CODE, "", raw))
        elif fence:
            laid.append(Line(number, Is.CODE, raw.strip(), raw, language=language))
        elif comment or raw.lstrip().startswith("<!--"):
            comment = "-->" not in raw
            laid.append(Line(number, Is.BLANK, "", raw))
        else:
            lone = not markdown and _lone(lines, number - 1)
            laid.append(_plain(number, raw, lone, laid))
    return laid


def _plain(number: int, raw: str, lone: bool, before: list[Line]) -> Line:
    text = _unmarked(raw)
    if not raw.strip():
        return Line(number, Is.BLANK, "", raw)
    if heading := _HEADING.match(raw):
        return Line(
            number, Is.HEADING, _unmarked(heading[2].rstrip("# ")), raw, indent=len(heading[1])
        )
    if bold := _BOLD.match(raw.strip()):
        return Line(number, Is.HEADING, _unmarked(bold[1]), raw, indent=7)
    if raw.lstrip().startswith("|") or (before and before[-1].what is Is.ROW and "|" in raw):
        return Line(number, Is.ROW, text, raw, cells=_cells(raw))
    if point := _POINT.match(raw):
        return Line(number, Is.POINT, _unmarked(point[2]), raw, indent=_indent(raw))
    if lone and len(text) <= 60 and not re.search(r"[。.,;:=!?]$|[=:]\s", text):
        return Line(number, Is.HEADING, text, raw, indent=1)
    return Line(number, Is.TEXT, text, raw, indent=_indent(raw))


@dataclass
class _Place:
    """Where the reader is: open headings, open points, the header of the table in hand."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    points: list[tuple[int, str]] = field(default_factory=list)
    header: tuple[str, ...] = ()

    def enter(self, line: Line) -> None:
        opened = self.headings if line.what is Is.HEADING else self.points
        while opened and opened[-1][0] >= line.indent:
            opened.pop()
        if line.what is Is.HEADING:
            self.points.clear()
            opened.append((line.indent, line.text))


def _placed(lines: list[Line]) -> list[Line]:
    """The same lines, each with its headings, points and table header."""
    placed, here = [], _Place()
    title = _title(lines)
    for index, line in enumerate(lines):
        if line.what in (Is.HEADING, Is.POINT):
            here.enter(line)
        elif line.what is Is.TEXT:
            if line.text.endswith(":"):  # "Sample 1:" above a list
                here.points = [(-1, line.text)]
            elif not line.indent:
                here.points = []
        elif line.what in (Is.ROW, Is.CODE) and not _indent(line.raw):
            here.points = [point for point in here.points if point[0] < 0]  # the list has ended
        if line.what is not Is.ROW:
            here.header = ()
        elif (
            index + 1 < len(lines) and not here.header and _RULE.match(lines[index + 1].raw.strip())
        ):
            here.header = line.cells
            line = replace(line, cells=())
        elif here.header and _RULE.match(line.raw.strip()):
            line = replace(line, cells=())
        placed.append(
            replace(
                line,
                headings=tuple(text for _, text in here.headings if text != title),
                points=tuple(text for _, text in here.points),
                header=here.header,
            )
        )
        if line.what is Is.POINT:
            here.points = [*here.points, (line.indent, line.text)][-_DEEPEST:]
    return placed


def _title(lines: Sequence[Line]) -> str:
    """The one heading above all others: it is of the whole, and tells no part from another."""
    headings = [line for line in lines if line.what is Is.HEADING]
    top = [line for line in headings if line.indent == min(each.indent for each in headings[:50])]
    unique = len(top) == 1 and top[0] is headings[0] and (top[0].indent == 1 or len(headings) > 1)
    return top[0].text if unique else ""


def _front_matter(lines: Sequence[str]) -> int:
    """How many lines at the top are YAML between two rows of dashes."""
    if lines[0].strip() != "---":
        return 0
    ends = (index for index, line in enumerate(lines[1:400], start=2) if line.strip() == "---")
    return next(ends, 0)


def _lone(lines: Sequence[str], index: int) -> bool:
    """Whether a line stands between blank ones, as headings do where nothing marks them."""
    around = (lines[index - 1] if index else "", *lines[index + 1 : index + 2])
    return not any(line.strip() for line in around)


def _cells(raw: str) -> tuple[str, ...]:
    inner = raw.strip().replace("\\|", _ESCAPED).removeprefix("|").removesuffix("|")
    return tuple(_unmarked(cell).replace(_ESCAPED, "|").strip() for cell in inner.split("|"))


def _unmarked(text: str) -> str:
    """Text without the marks of bold and code, and without a bullet's check box."""
    plain = re.sub(r"\*\*|`", "", text).replace("\\_", "_").replace("\\|", "|")
    return re.sub(r"^\[[ xX]\]\s", "", plain.strip())


def _indent(raw: str) -> int:
    return len(raw) - len(raw.lstrip())
