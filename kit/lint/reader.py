"""A report as claims: which field it gives which value, on which line, and of which comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kit.lint.fields import GLUED, WITHIN, Field, Kind, field_of
from kit.lint.layout import Is, Line, lay_out
from kit.lint.scopes import GENERIC_HEADER, LIMIT_HEADER, scope_of
from kit.lint.sentences import Sentence, sentences_of
from kit.lint.values import NUMBER, Figure, figure, flag, shape


@dataclass(frozen=True)
class Statement:
    """`field` `op` `value` on a line. `scope` is empty for the headline: what is said of the run as such,
    not of one output, sample or mode. `limit`: the value was held against it (`0.004 < 0.005`)."""

    field: str
    value: str
    line: Line
    op: str = "="
    label: str = ""
    scope: frozenset[str] = frozenset()
    limit: str = ""

    @cached_property
    def figure(self) -> Figure | None:
        """The value as a number, or None."""
        return figure(self.value)

    @cached_property
    def flag(self) -> bool | None:
        """The value as yes or no, or None."""
        return flag(self.value)

    @cached_property
    def shape(self) -> tuple[int, ...] | None:
        """The value as a shape, or None."""
        return shape(self.value)


class Report:
    """The lines and claims of one report."""

    def __init__(self, lines: Sequence[str], path: Path) -> None:
        self.path = path
        self.lines = lay_out(lines)
        self.cut = [
            number
            for number, (raw, line) in enumerate(zip(lines, self.lines, strict=True), 1)
            if len(raw) > len(line.raw) + 4
        ]
        self.claims = list(_claims(self.lines))
        self.sentences: list[Sentence] = [
            sentence
            for line in self.lines
            if line.what is not Is.CODE
            for sentence in sentences_of(line)
        ]

    def of(self, *fields: str) -> list[Statement]:
        """The claims that give one of the fields a value, in order."""
        return [claim for claim in self.claims if claim.field in fields and claim.op == "="]

    def figures(self, *fields: str) -> list[Statement]:
        """Those of them that are numbers."""
        return [claim for claim in self.of(*fields) if claim.figure is not None]

    def saying(self, pattern: re.Pattern[str]) -> list[Sentence]:
        """The sentences that assert what the pattern finds: not denied, not conditional."""
        return [sentence for sentence in self.sentences if sentence.asserts(pattern)]

    def mentions(self, pattern: re.Pattern[str]) -> bool:
        """Whether any line has what the pattern finds, however it is meant."""
        return any(pattern.search(line.text) for line in self.lines)


_KEY = re.compile(r"^([^:=<>\u2264\u2265]{1,60}?)\s?(==|<=|>=|[:=<>\u2264\u2265])\s*(.*)$")
_OPS = {":": "=", "==": "=", "\u2248": "=", "\u2264": "<", "<=": "<", "\u2265": ">", ">=": ">"}
_VALUE = re.compile(rf"{NUMBER}\s?(?:ms|s|us|%)?|[^\s,;\u3002\u3001)<>=\u2264\u2265]{{1,80}}")
_LIMIT = re.compile(rf"\s?([<>\u2264\u2265]=?)\s?({NUMBER}%?)")
_OF_WEIGHTS = re.compile(r"pretrained|weight|\u6743\u91cd", re.IGNORECASE)
_SPEC = re.compile(r"(?:npu|cuda|cpu|gpu)\b|[^:]{0,12}\bnpu\b|\u6a21\u62df|simulat", re.IGNORECASE)
_LITERAL = re.compile(
    rf"^(?:{NUMBER}\s?(?:ms|s|%)?|true|false|\u2705.*|\u274c.*|\$.*)$", re.IGNORECASE
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
        elif line.text and line.what is not Is.FRONT:  # a card's `hardware: NPU` names no chip
            yield from _of_text(line)


def _claim(
    field: Field,
    value: str,
    line: Line,
    *,
    op: str = "=",
    label: str = "",
    remark: str = "",
    limit: str = "",
) -> Statement:
    name = field.name
    if name == "status" and _OF_WEIGHTS.search(" ".join(line.headings[-1:])):
        name = "weights_status"
    if name == "device" and not _SPEC.match(value.strip()):
        name = "device_name"
    scope = scope_of(line, label=label, remark=remark)
    return Statement(name, value.strip(), line, op, label, scope, limit)


def _of_text(line: Line) -> Iterator[Statement]:
    key = _KEY.match(line.text)
    field = field_of(key[1]) if key else None
    if key is None or field is None:
        yield from _within(line.text, line)
        return
    rest = key[3]
    limit = _limit(rest, 0) if field.kind is Kind.NUMBER else ""
    yield _claim(field, rest, line, op=_OPS.get(key[2], key[2]), remark=key[1], limit=limit)
    yield from _within(rest, line)


def _within(text: str, line: Line) -> Iterator[Statement]:
    """Claims inside a sentence: `...; cosine_similarity=0.999997>0.99; ...`."""
    for found in WITHIN.finditer(text):
        if field := field_of(found[1]):
            value = _VALUE.match(text, found.end())
            yield _claim(
                field,
                value[0] if value else "",
                line,
                op=_OPS.get(found[2], found[2]),
                remark=found[0],
                limit=_limit(text, found.end()),
            )


def _limit(text: str, begin: int) -> str:
    """What the value at `begin` is held against: `>0.99` in `0.999997>0.99`."""
    value = _VALUE.match(text, begin)
    limit = _LIMIT.match(text, value.end()) if value else None
    return limit[0].strip() if limit else ""


def _of_code(line: Line) -> Iterator[Statement]:
    """Results that stand in a block of text or JSON; code is not read."""
    if line.language not in _DATA:
        return
    key = _KEY.match(line.text.strip('{}", '))
    field = field_of(key[1]) if key else None
    if key and field and field.kind in (Kind.NUMBER, Kind.FLAG):
        value = key[3].strip(' ",')
        if _LITERAL.match(value) and key[2] in ":=":
            yield _claim(field, value, line)


def _of_row(line: Line) -> Iterator[Statement]:
    """A row `| field | value |`, or one whose columns are fields."""
    if not line.cells:
        return
    columns = [field_of(name) for name in line.header[1:]]
    if (field := field_of(line.cells[0])) and not any(columns):
        for index, cell in enumerate(line.cells[1:], start=1):
            header = line.header[index] if index < len(line.header) else ""
            if not LIMIT_HEADER.search(header):
                plain = len(line.cells) == 2 or GENERIC_HEADER.match(header)
                yield from _of_cell(field, cell, line, "" if plain else header or "?")
        return
    first = field_of(line.header[0]) if line.header else None
    label = "" if first and first.kind is Kind.NUMBER else line.cells[0]
    for name, cell in zip(line.header, line.cells, strict=False):
        if field := field_of(name):
            yield from _of_cell(field, cell, line, label)


def _of_cell(field: Field, cell: str, line: Line, label: str) -> Iterator[Statement]:
    op = {"<": "<", "\u2264": "<", ">": ">", "\u2265": ">"}.get(cell[:1], "=")
    yield _claim(field, cell.lstrip("<>=\u2264\u2265 "), line, op=op, label=label)
    yield from _within(cell, line)


def _glued_rows(lines: Sequence[Line]) -> dict[int, tuple[Field, str]]:
    """Rows of a table that lost its columns: runs of lines, at least two with a value, that begin with a
    field's name."""
    found: dict[int, tuple[Field, str]] = {}
    for run in _runs(lines):
        rows = {line.number: row for line in run if (row := _glued(line.text))}
        valued = [value for _, value in rows.values() if _LITERAL.match(value)]
        if len(valued) >= 2:
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


def _runs(lines: Iterable[Line]) -> Iterator[list[Line]]:
    run: list[Line] = []
    for line in lines:
        if line.what is Is.TEXT:
            run.append(line)
        elif run:
            yield run
            run = []
    if run:
        yield run
