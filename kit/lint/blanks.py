"""Values that are missing: blank, a null, a variable or template that nobody filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.lint.fields import Kind, field_of
from kit.lint.finding import Finding, error, quoted
from kit.lint.layout import Is, Line
from kit.lint.reader import Report
from kit.lint.scopes import LIMIT_HEADER

_STATE = "state the figure, or that it was not measured and why"
_BLANK = "。,;. "
_KEYED = re.compile(r"^([^:=]{1,60}?)\s?[:=]\s*([。,;.]*)$")
_NULL = re.compile(r"^(?:nan|null|undefined|\(null\)|[-+]?inf)[。.;,]?$", re.IGNORECASE)
_NONE = re.compile(r"^(?:none|n/?a\?|nil|-?1\.#\w{1,4})[。.;,]?$", re.IGNORECASE)
_WHOLE = re.compile(
    r"^(?:\$\{?\w{1,60}\}?|\{[a-z_][\w.]{0,60}(?::[^{}]{0,20})?\}|%\(\w{1,40}\)[sdf])[。.;,]?$"
)
_TEMPLATE = re.compile(
    r"\$\{[^{}$]{1,80}\}|\$[a-z]\w{0,60}(?![\w$])|\{\{[^{}]{1,80}\}\}|\{%[^{}%]{1,80}%\}"
    r"|(?<![\w%])%(?:\.\d)?[sdf]\b|<(?:YOUR|your|Your)[ _-][\w -]{1,40}>|<[A-Z]{2,20}(?:_[A-Z]{1,20}){1,4}>"
)
_TODO = re.compile(
    r"(?<![\w./-])(?:TODO|TBD|TBA|FIXME|XXX)(?![\w./-])|待补充|待填写?|待测试?(?=[。,;)\s]|$)|[xX]{2,4}\.[xX]{2,4}"
)
_CODE_OR_URL = re.compile(r"`[^`]{1,200}`|https?://\S{1,300}|\$[^\s$][^$]{0,80}[^\s$]\$|\$[^\s$]\$")


def empty_value(report: Report) -> Iterator[Finding]:
    """A field with nothing after it: `cosine_similarity=。`, an empty cell, a glued row without value."""
    named: dict[int, list[str]] = {}
    for claim in report.claims:
        if not claim.value.strip(_BLANK) and not _introduces(report, claim.line):
            named.setdefault(claim.line.number, []).append(claim.field)
    for line in report.lines:
        keyed = _KEYED.match(line.text) if line.what in (Is.POINT, Is.FRONT, Is.TEXT) else None
        if keyed and line.number not in named:
            listed = line.what is not Is.TEXT and not _introduces(report, line)
            if keyed[2] or listed:
                named[line.number] = [keyed[1]]
        if line.number not in named and (column := _empty_cell(line)):
            named[line.number] = [column]
    for number, names in sorted(named.items()):
        yield error("empty-value", [number], f"{quoted(', '.join(names))} has no value; {_STATE}")


def _introduces(report: Report, line: Line) -> bool:
    """Whether a line that ends with a colon is followed by what it announces."""
    if not line.text.endswith(":"):
        return False
    following = next(
        (each for each in report.lines[line.number :] if each.what is not Is.BLANK), None
    )
    if following is None or following.what is Is.HEADING:
        return False
    if line.what is Is.FRONT:
        return following.what is Is.FRONT and (
            following.indent > line.indent or following.raw.lstrip()[:1] == "-"
        )
    return following.what is not Is.POINT or line.what is Is.TEXT or following.indent > line.indent


def _empty_cell(line: Line) -> str:
    """The row and column of an empty cell; columns of remarks and limits may be empty."""
    if not line.header or not line.cells[:1] or not line.cells[0]:
        return ""
    for name, cell in zip(line.header[1:], line.cells[1:], strict=False):
        if not cell and name and not LIMIT_HEADER.search(name):
            return f"{line.cells[0]}: {name}"
    return ""


def null_value(report: Report) -> Iterator[Finding]:
    """nan, null or None where a value belongs."""
    seen = set()
    for claim in report.claims:
        field = field_of(claim.field)
        loose = field is not None and field.kind is not Kind.FLAG and _NONE.match(claim.value)
        if (loose or _NULL.match(claim.value)) and claim.line.number not in seen:
            seen.add(claim.line.number)
            message = f"{claim.field} is {quoted(claim.value)}: that is no value; {_STATE}"
            yield error("null-value", [claim.line.number], message)
    for line in report.lines:
        values = line.cells[1:] if line.header else line.text.split(": ", 1)[1:]
        if line.number not in seen and line.what is not Is.CODE and any(map(_NULL.match, values)):
            message = f"{quoted(line.text)} has a null for a value; {_STATE}"
            yield error("null-value", [line.number], message)


def unexpanded(report: Report) -> Iterator[Finding]:
    """A variable or template that was never filled in: `$weight`, `${X}`, `{{ x }}`, `%s`, TODO."""
    whole = {claim.line.number: claim.value for claim in report.claims if _WHOLE.match(claim.value)}
    for line in report.lines:
        if line.what in (Is.CODE, Is.BLANK):
            continue
        values = line.cells or tuple(line.text.split(": ", 1)[1:])
        found = whole.get(line.number) or next(
            (value for value in values if _WHOLE.match(value)), ""
        )
        if not found:
            prose = _CODE_OR_URL.sub(" ", line.raw)
            match = _TEMPLATE.search(prose) or _TODO.search(prose)
            found = match[0] if match else ""
        if found:
            message = f"{quoted(found)} was never filled in ({quoted(line.text)}); fill it in, or remove it"
            yield error("unexpanded", [line.number], message)
