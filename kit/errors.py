"""Errors a user can act on: what happened, with which value, and the next step, on one line.

A KitError is raised anywhere and caught once at the entry point (kit/entry.py), which prints the line and
exits with the class's code. The traceback goes to the log, never to the console. Foreign text in them is
made visible: what would act on a terminal or a reader is written by its number.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

from kit.words import Reason, Value


class Fault(Exception):
    """What happened, and `cure`, the next step, where one is known. As text it is both, on one line."""

    def __init__(self, what: str, cure: str | None = None) -> None:
        self.what, self.cure = _line(what), cure and _line(cure)
        super().__init__(self.what if self.cure is None else f"{self.what}; {self.cure}")

    @property
    def reason(self) -> Reason:
        """What happened, as a record has it."""
        return Reason.said(self.what)

    @property
    def message(self) -> Reason:
        """What happened and the next step, as a record has them."""
        if self.cure is None:
            return self.reason
        return Reason("and_cure", what=self.reason, cure=self.cure)


class KitError(Fault):
    """An error with an exit code. Whoever raises one names the cure, or None where none is known."""

    exit_code: ClassVar[Literal[2, 3, 4]] = 3

    def __init__(self, what: str, cure: str | None) -> None:
        super().__init__(what, cure)


class UsageError(KitError):
    """Wrong usage or bad input: an unknown model, a file that is no image, foreign weights."""

    exit_code = 2


class CannotRunError(KitError):
    """The environment cannot: no such device, weights required and absent, disk, logs in use."""

    exit_code = 3


class UnsupportedError(CannotRunError):
    """Nobody can run this architecture here: the run ends with the status UNSUPPORTED."""


class UntrustedError(KitError):
    """The evidence cannot be trusted: fingerprints differ, a record is damaged, a run is not repeatable."""

    exit_code = 4


def _line(text: str) -> str:
    """Foreign text (paths, other libraries' errors) on one line, on which nothing acts on a terminal. A
    reason stays one: its values are brought onto a line."""
    line = visible(" ".join(text.split()))
    if line == text:
        return text
    if isinstance(text, Reason):
        return Reason(text.code, **{name: _lined(value) for name, value in text.values.items()})
    return line


def _lined(value: Value) -> Value:
    if isinstance(value, str):
        return _line(value)
    return value if isinstance(value, (int, float)) else [_line(each) for each in value]


def named(error: BaseException) -> Reason:
    """What an error says: the kit's own what happened, a library's its class and its words."""
    if isinstance(error, Fault):
        return error.reason
    return Reason.said(f"{type(error).__name__}: {error}")


def words_of(error: BaseException) -> str:
    """The words of an error alone: the operating system's without its number and without a path."""
    return getattr(error, "strerror", None) or str(error)


def visible(text: str) -> str:
    """`text` on one line: line ends and other controls, what turns the direction of text and what takes
    no width are written by their numbers, seen and without effect."""
    if text.isprintable():
        return text
    return "".join(char if is_shown(char) else code(char) for char in text)


def shown(name: object) -> str:
    """A foreign name on one line, quoted where it holds more than letters, digits and signs."""
    text = str(name)
    plain = text.isprintable() and text and not set(text) & set(" '\"")
    return text if plain else "'" + visible(text) + "'"


def some(names: Collection[str], most: int = 3) -> str:
    """The first few of many names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more


def is_shown(char: str) -> bool:
    """Whether a character is seen as it is."""
    return char == " " or char.isprintable()


def code(char: str) -> str:
    """The character by its number, as Python and bash write it."""
    if ord(char) > 0x7F:
        return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\x{ord(char):02x}")
