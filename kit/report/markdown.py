"""report.md: the outline as Markdown, with long tables folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import escape

from kit.errors import visible
from kit.evidence.logs import PLOTS, REPORT, REPORT_ENGLISH, Logs
from kit.evidence.reading import Evidence
from kit.report import outline
from kit.report.compose import compose
from kit.report.escaping import markdown
from kit.report.facts import Told
from kit.report.front_matter import front_matter
from kit.report.outline import Block, Cell, Report, Toned
from kit.words import Language


def write_markdown(logs: Logs, evidence: Evidence, language: str) -> None:
    """Write report.md in `language` (zh, en), or in both: then English is report.en.md."""
    logs.write_text(REPORT, render(logs, evidence, "en" if language == "en" else "zh"))
    if language == "both":
        logs.write_text(REPORT_ENGLISH, render(logs, evidence, "en"))


def render(logs: Logs, evidence: Evidence, language: Language) -> str:
    """The report as text. `logs` has charts.json, and only tells which other files there are."""
    told = Told(logs, evidence, language)
    report = compose(told)
    matter = front_matter(told)
    head = ["---", matter, "---", ""] if matter else []
    return "\n".join([*head, *_lines(report)]).rstrip("\n") + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# {markdown(report.title)}", "", f"**{markdown(report.status)}**", "")
    if report.on_npu:
        yield from ("#+NPU", "")
    yield from _blocks(report.lead)
    yield from (markdown(report.closing), "")
    for section in report.sections:
        yield from (f"## {markdown(section.title + section.remark)}", "")
        yield from _blocks(section.blocks)


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        lines = list(_block(block))
        yield from [*lines, ""] if lines else []


def _block(block: Block) -> Iterator[str]:
    match block:
        case outline.Facts(facts, tiles=True):
            rows = tuple((fact.label, fact.value) for fact in facts)
            yield from _rows(rows[0], rows[1:])
        case outline.Facts(facts):
            yield from (f"- {markdown(fact.label)}: {_cell(fact.value)}" for fact in facts)
        case outline.Table(fold=None):
            yield from _rows(block.head, block.rows)
        case outline.Table():
            # An HTML block, in which Markdown's escapes mean nothing.
            yield from ("<details>", f"<summary>{escape(visible(block.fold or ''))}</summary>", "")
            yield from (*_rows(block.head, block.rows), "", "</details>")
        case outline.Plot():
            yield f"![{markdown(block.caption)}: {block.name}]({PLOTS}/{block.name}.svg)"
            if block.numbers.fold is None:
                yield ""
                yield from _rows(block.numbers.head, block.numbers.rows)
        case outline.Note(text):
            yield markdown(text)
        case outline.Points(texts):
            yield from (f"- {markdown(text)}" for text in texts)
        case outline.Code(lines):
            yield from ("```", *lines, "```")
        case outline.Heading(text):
            yield f"### {markdown(text)}"


def _rows(head: Iterable[Cell], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    cells = [_cell(cell) for cell in head]
    for row in (cells, ["---"] * len(cells), *([_cell(cell) for cell in row] for row in rows)):
        yield f"| {' | '.join(row)} |"


def _cell(cell: Cell) -> str:
    return markdown(cell.text if isinstance(cell, Toned) else cell)
