"""What a rule found: where, what it says there, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kit.machine.private import without_secrets

_LONGEST_QUOTE = 90


class Level(StrEnum):
    """An error is false, blank, contradictory or unsupported; a note is something a reader misses."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One defect. `lines` count from 1, the first is where it is reported."""

    rule: str
    level: Level
    lines: tuple[int, ...]
    message: str

    def shown(self, file: str) -> str:
        """FILE:LINE: [rule] message, with the further lines, on one line."""
        note = "note: " if self.level is Level.NOTE else ""
        also = ", ".join(map(str, self.lines[1:8])) + (", ..." if len(self.lines) > 8 else "")
        more = f" (see also {also})" if also else ""
        return f"{file}:{self.lines[0]}: [{self.rule}] {note}{self.message}{more}"


def error(rule: str, lines: Iterable[int], message: str) -> Finding:
    """A finding that makes the exit code 1."""
    return Finding(rule, Level.ERROR, tuple(sorted(set(lines))), message)


def note(rule: str, lines: Iterable[int], message: str) -> Finding:
    """A finding that leaves the exit code alone."""
    return Finding(rule, Level.NOTE, tuple(sorted(set(lines))), message)


def quoted(text: str) -> str:
    """Foreign text for a message: one short line that a terminal can show, and no secret."""
    bare = without_secrets(text).strip()[: _LONGEST_QUOTE + 1]
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in bare)
    cut = len(shown) > _LONGEST_QUOTE
    return f'"{shown[: _LONGEST_QUOTE - 3]}..."' if cut else f'"{shown}"'
