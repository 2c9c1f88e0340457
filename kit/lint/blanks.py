"""Values that are missing: blank, a null, a variable or template that nobody filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.lint.fields import BY_NAME, Kind
from kit.lint.finding import Finding, error, quoted
from kit.lint.layout import Is, Line
from kit.lint.reader import Report, Statement
from kit.lint.words import says, without

_BLANK = "。,;. "
_KEYED = re.compile(r"^([^:=]{1,60}?)\s?[:=]\s*([。,;.]*)$")


def empty_value(report: Report) -> Iterator[Finding]:
    """A field with nothing after it, or a null: `cosine_similarity=。`, `nan`, an empty cell."""
    named: dict[int, list[str]] = {}
    for claim in report.claims:
        blank = not claim.value.strip(_BLANK) and not _introduces(report, claim.line)
        if blank or _is_null(claim):
            named.setdefault(claim.line.number, []).append(claim.field)
    for line in report.lines:
        if line.number not in named and (name := _keyed(report, line) or _empty_cell(line)):
            named[line.number] = [name]
    for number, names in sorted(named.items()):
        message = f"{quoted(', '.join(names))} has no value; state it, or that it was not measured and why"
        yield error("empty-value", [number], message)


def _is_null(claim: Statement) -> bool:
    answer = BY_NAME[claim.field].kind is Kind.FLAG  # `fallback: none` is one
    return bool(says("null", claim.value) or (not answer and says("none", claim.value)))


def _keyed(report: Report, line: Line) -> str:
    """The key of a line `key:`, or `key: nan`, whether or not it names a field."""
    if line.what not in (Is.POINT, Is.TEXT):
        return ""
    key, _, value = line.text.partition(": ")
    if says("null", value):
        return key
    keyed = _KEYED.match(line.text)
    listed = line.what is not Is.TEXT and not _introduces(report, line)
    return keyed[1] if keyed and (keyed[2] or listed) else ""


def _introduces(report: Report, line: Line) -> bool:
    """Whether a line that ends with a colon is followed by what it announces."""
    rest = (each for each in report.lines[line.number :] if each.what is not Is.BLANK)
    following = next(rest, None)
    if not line.text.endswith(":") or following is None or following.what is Is.HEADING:
        return False
    below = following.indent > line.indent or following.what in (Is.CODE, Is.ROW)
    return below or line.what is Is.TEXT


def _empty_cell(line: Line) -> str:
    """The row and column of a cell that is empty or null; columns of remarks and limits may be empty."""
    if line.header and line.cells[:1] and line.cells[0]:
        for name, cell in zip(line.header[1:], line.cells[1:], strict=False):
            if says("null", cell) or (not cell and name and not says("limit_column", name)):
                return f"{line.cells[0]}: {name}"
    return ""


def unexpanded(report: Report) -> Iterator[Finding]:
    """A variable or template that was never filled in: `$weight`, `${X}`, `{{ x }}`, `%s`, TODO."""
    for line in report.lines:
        if line.what is Is.CODE:
            continue
        values = line.cells or line.text.split(": ", 1)[1:]
        whole = [found for value in values if (found := says("whole_template", value))]
        if found := whole[0] if whole else says("template", without("code_or_url", line.raw)):
            message = f"{quoted(found[0])} was never filled in ({quoted(line.text)})"
            yield error("unexpanded", [line.number], f"{message}; fill it in, or remove it")
