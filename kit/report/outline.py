"""What a report consists of: sections of blocks, as plain data in one language.

The outline is made once from the evidence (sections_*.py) and rendered as Markdown and as a page. Every
text in it is plain: what is foreign in it is made harmless by whoever renders it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "caution", "absent"]


@dataclass(frozen=True)
class Toned:
    """A text that is judged (good, bad, caution), or stands for a value that is absent."""

    text: str
    tone: Tone


Cell = str | Toned


@dataclass(frozen=True)
class Fact:
    """A value and what it is called."""

    label: str
    value: Cell


@dataclass(frozen=True)
class Facts:
    """Facts, one a line; as tiles where they are seen first."""

    facts: tuple[Fact, ...]
    tiles: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells. The first `words` columns are words, the others numbers. `fold` is what a reader
    sees of a long table before opening it."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1
    fold: str | None = None


@dataclass(frozen=True)
class Plot:
    """A drawing by its file's name. `alt` says what is to be seen in it, `numbers` are its data."""

    name: str
    caption: str
    alt: str
    numbers: Table


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str
    tone: Tone | None = None


@dataclass(frozen=True)
class Points:
    """A list of reasons or findings."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Commands, one a line."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Heading:
    """Begins the part of a section that is of one output."""

    text: str


Block = Facts | Table | Plot | Note | Points | Code | Heading


@dataclass(frozen=True)
class Section:
    """A titled part; `key` names it in links, `remark` restricts the title."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole report. `status` is its first sentence, `badge` the same in three words; `lead` is what
    is read before the first section. `on_npu`: whether it may carry an NPU's tag."""

    model: str
    title: str
    kicker: str
    status: str
    badge: Toned
    on_npu: bool
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    closing: str

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All of them."""
        blocks = (block for section in self.sections for block in section.blocks)
        return tuple(block for block in blocks if isinstance(block, Plot))
