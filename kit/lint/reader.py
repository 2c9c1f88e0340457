"""A report as claims: which field it gives which value, on which line, and of which comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from kit.lint.fields import GLUED, WITHIN, Field, Kind, field_of
from kit.lint.layout import Is, Line, lay_out
from kit.lint.sentences import Sentence, sentences_of
from kit.lint.text import read_lines
from kit.lint.values import NUMBER, Figure, figure, flag
from kit.lint.words import every, says


@dataclass(frozen=True)
class Statement:
    """`field` is `value` on a line; `bound`: it is only said to be below or above it. `scope` is empty for
    the headline: what is said of the run as such, not of one output, sample or mode. `limit`: the value was
    held against it (`0.004 < 0.005`)."""

    field: str
    value: str
    line: Line
    bound: bool = False
    label: str = ""
    scope: frozenset[str] = frozenset()
    limit: str = ""

    @cached_property
    def figure(self) -> Figure | None:
        """The value as a number, or None."""
        return figure(self.value)

    @property
    def number(self) -> Figure:
        """The value of one that Report.figures() gave."""
        assert self.figure is not None
        return self.figure

    @cached_property
    def flag(self) -> bool | None:
        """The value as yes or no, or None."""
        return flag(self.value)


class Report:
    """The lines, claims and sentences of one report."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lay_out(lines)
        self.claims = list(_claims(self.lines))
        prose = [line for line in self.lines if line.what is not Is.CODE]
        self.sentences: list[Sentence] = [each for line in prose for each in sentences_of(line)]

    def of(self, *fields: str) -> list[Statement]:
        """The claims that give one of the fields a value, in order."""
        return [claim for claim in self.claims if claim.field in fields and not claim.bound]

    def figures(self, *fields: str) -> list[Statement]:
        """Those of them that are numbers."""
        return [claim for claim in self.of(*fields) if claim.figure is not None]

    def flagged(self, value: bool, *fields: str) -> list[int]:
        """The lines that give one of the fields this answer."""
        return [claim.line.number for claim in self.of(*fields) if claim.flag is value]

    def asserting(self, thing: str) -> list[int]:
        """The lines with a sentence that asserts a thing of words.toml: not denied, not conditional."""
        return [each.line.number for each in self.sentences if each.asserts(thing)]

    def saying(self, thing: str) -> list[Sentence]:
        """The sentences that have the words for it, however they are meant."""
        return [each for each in self.sentences if each.says(thing)]

    def mentions(self, thing: str) -> bool:
        """Whether any line has the words for it, code included."""
        return any(says(thing, line.text) for line in self.lines)


def read_report(path: Path) -> Report:
    """The report in a file. Raises UsageError for what is no readable text."""
    return Report(read_lines(path))


_KEY = re.compile(r"^([^:=<>\u2264\u2265]{1,60}?)\s?(==|<=|>=|[:=<>\u2264\u2265])\s*(.*)$")
_BOUNDS = "<>\u2264\u2265"
_VALUE = re.compile(rf"{NUMBER}\s?(?:ms|s|us|%)?|[^\s,;\u3002\u3001)<>=\u2264\u2265]{{1,80}}")
_FIELD_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+", re.IGNORECASE)
_LIMIT = re.compile(rf"\s?([<>\u2264\u2265]=?)\s?({NUMBER}%?)")
_LITERAL = re.compile(
    rf"^(?:{NUMBER}\s?(?:ms|s|%)?|true|false|null|nan|\u2705.*|\u274c.*|\$.*)$", re.IGNORECASE
)
_DATA = {"", "text", "txt", "json", "yaml", "yml", "log", "console", "output", "ini", "toml"}


def _claims(lines: Sequence[Line]) -> Iterator[Statement]:
    glued = _glued_rows(lines)
    for line in lines:
        if line.what is Is.CODE:
            yield from _of_code(line)
        elif line.what is Is.ROW:
            yield from _of_row(line)
        elif line.number in glued:
            field, value = glued[line.number]
            yield _claim(field, value, line)
            yield from _within(value, line)
        elif line.text:
            yield from _of_text(line)


def _claim(
    field: Field,
    value: str,
    line: Line,
    op: str = "=",
    label: str = "",
    remark: str = "",
    limit: str = "",
) -> Statement:
    name = field.name
    if name == "status" and says("weights", " ".join(line.headings[-1:])):
        name = "weights_status"
    if name == "device" and not says("in_torch", value.strip()):
        name = "device_name"
    scope = _scope(line, label, remark)
    return Statement(name, value.strip(), line, op[0] in _BOUNDS, label, scope, limit)


def _scope(line: Line, label: str, remark: str) -> frozenset[str]:
    """The words that limit a claim on this line to a part; empty for the run as such. `label` is the
    name of its row or column, `remark` what stands beside its field's name."""
    above = " ".join((*line.headings, *line.points, _FIELD_NAME.sub(" ", f"{label} {remark}")))
    cpu = ["cpu"] if says("heading_of_cpu", " ".join(line.headings[-1:])) else []
    return frozenset([*every("part", above), *cpu, *([label.casefold()] if label else [])])


def _of_text(line: Line) -> Iterator[Statement]:
    key = _KEY.match(line.text)
    field = field_of(key[1]) if key else None
    if key is None or field is None:
        yield from _within(line.text, line)
        return
    _, limit = _held(key[3], 0)
    yield _claim(field, key[3], line, op=key[2], remark=key[1], limit=limit)
    yield from _within(key[3], line)


def _within(text: str, line: Line) -> Iterator[Statement]:
    """Claims inside a sentence: `...; cosine_similarity=0.999997>0.99; ...`."""
    for found in WITHIN.finditer(text):
        if field := field_of(found[1]):
            value, limit = _held(text, found.end())
            yield _claim(field, value, line, op=found[2], remark=found[0], limit=limit)


def _held(text: str, begin: int) -> tuple[str, str]:
    """The value at `begin`, and what it is held against: `>0.99` in `0.999997>0.99`."""
    value = _VALUE.match(text, begin)
    limit = _LIMIT.match(text, value.end()) if value else None
    return value[0] if value else "", limit[0].strip() if limit else ""


def _of_code(line: Line) -> Iterator[Statement]:
    """Results that stand in a block of text or JSON; code is not read."""
    key = _KEY.match(line.text.strip('{}", ')) if line.language in _DATA else None
    field = field_of(key[1]) if key else None
    if key and field and field.kind in (Kind.NUMBER, Kind.FLAG):
        value = key[3].strip(' ",')
        if _LITERAL.match(value) and key[2] in ":=":
            yield _claim(field, value, line)


def _of_row(line: Line) -> Iterator[Statement]:
    """A row `| field | value |`, or one whose columns are fields."""
    if not line.cells:
        return
    field = field_of(line.cells[0])
    columns = [field_of(name) for name in line.header]
    if field and (field.kind is Kind.NUMBER or not any(columns[1:])):
        yield from _of_named_row(field, line)
        return
    numbers = columns[:1] and columns[0] and columns[0].kind is Kind.NUMBER
    for column, cell in zip(columns, line.cells, strict=False):
        if column:
            yield from _of_cell(column, cell, line, "" if numbers else line.cells[0])


def _of_named_row(field: Field, line: Line) -> Iterator[Statement]:
    """A row that begins with a field's name: its values, each with the limit that stands in the row."""
    limit = ""
    cells = []
    for index, cell in enumerate(line.cells[1:], start=1):
        header = line.header[index] if index < len(line.header) else ""
        if says("limit_column", header):
            held = _LIMIT.match(cell)
            limit = held[0].strip() if held else limit
        else:
            cells.append((header, cell))
    for header, cell in cells:
        plain = len(cells) == 1 or says("value_column", header)
        yield from _of_cell(field, cell, line, "" if plain else header or "?", limit)


def _of_cell(
    field: Field, cell: str, line: Line, label: str, limit: str = ""
) -> Iterator[Statement]:
    value = cell.lstrip(f"{_BOUNDS}= ")
    yield _claim(field, value, line, op=cell[:1] or "=", label=label, limit=limit)
    yield from _within(cell, line)


def _glued_rows(lines: Sequence[Line]) -> dict[int, tuple[Field, str]]:
    """Rows of a table that lost its columns: runs of lines, at least two with a value, that begin with a
    field's name."""
    found: dict[int, tuple[Field, str]] = {}
    for is_text, run in groupby(lines, key=lambda line: line.what is Is.TEXT):
        rows = {line.number: row for line in run if is_text and (row := _glued(line.text))}
        if sum(_LITERAL.match(value) is not None for _, value in rows.values()) >= 2:
            found |= rows
    return found


def _glued(text: str) -> tuple[Field, str] | None:
    name = GLUED.match(text)
    field = field_of(name[0]) if name else None
    if name is None or field is None or re.match(r"\s?[:=<>]", text[name.end() :]):
        return None
    rest = text[name.end() :].strip()
    ascii_ends = name[0][-1].isascii() and rest[:1].isascii() and rest[:1].isalpha()
    if ascii_ends and not _LITERAL.match(rest) and not text[name.end()].isspace():
        return None  # "torchvision" is no torch
    return (field, rest) if len(rest) <= 120 and "\u3002" not in rest else None
