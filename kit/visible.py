"""Foreign text on one line: what would act on a terminal or a reader is written by its number."""

from __future__ import annotations


def visible(text: str) -> str:
    """`text` on one line: line ends and other controls, what turns the direction of text and what takes
    no width are written by their numbers, seen and without effect."""
    return "".join(char if is_shown(char) else code(char) for char in text)


def shown(name: object) -> str:
    """A foreign name on one line, quoted where it holds more than letters, digits and signs."""
    text = str(name)
    plain = text.isprintable() and text and not set(text) & set(" '\"")
    return text if plain else "'" + visible(text) + "'"


def is_shown(char: str) -> bool:
    """Whether a character is seen as it is."""
    return char == " " or char.isprintable()


def code(char: str) -> str:
    """The character by its number, as Python and bash write it."""
    if ord(char) > 0x7F:
        return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\x{ord(char):02x}")
