"""Foreign text made harmless: in Markdown, and as a word of a shell command that stands in Markdown."""

from __future__ import annotations

import re
import shlex

from kit.errors import code, is_shown, visible

# Entities where a browser may see HTML, backslashes where only Markdown means something by it.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_BACKSLASHED = frozenset("\\`*[]|~$")
# An underscore inside a word is no emphasis (CommonMark), and a reader looks for max_abs_diff.
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# What opens a block at the beginning of a line: # - + = >, and 1. or 1) before a space.
_OPENS_BLOCK = re.compile(r"^()([#+=>-])|^(\d{1,9})([.)])(?=\s|$)")
# No tag begins with "<=" or "< ", and limits are easier to read so.
_COMPARISON = re.compile(r"&[lg]t;(?=[= ])")
# A list of numbers is no link, unless what follows makes it one.
_NUMBERS = re.compile(r"\\\[[\\\[]*-?\d[\d ,.\\\[\]-]*\\\](?![\[(:])")
_PLAIN_WORD = re.compile(r"[\w./:@%+=,-]+", re.ASCII)


def markdown(text: str) -> str:
    """`text` on one line, with no meaning in Markdown or HTML: it reads as it is."""
    shown = "".join(_ENTITIES.get(char) or _escaped(char) for char in visible(text).strip(" "))
    shown = _COMPARISON.sub(lambda found: "<>"[found[0] == "&gt;"], shown)
    shown = _NUMBERS.sub(lambda found: re.sub(r"\\([\[\]])", r"\1", found[0]), shown)
    shown = _EDGE_UNDERSCORE.sub(r"\\_", shown)
    return _OPENS_BLOCK.sub(r"\1\3\\\2\4", shown)


def shell_word(text: str) -> str:
    """`text` as a word of bash on one line, safe inside a fenced block of Markdown."""
    if _PLAIN_WORD.fullmatch(text):
        return text
    if text.isprintable() and not set(text) & set("<>&`|"):
        return shlex.quote(text)
    return "$'" + "".join(_shell_escaped(char) for char in text) + "'"


def _escaped(char: str) -> str:
    return f"\\{char}" if char in _BACKSLASHED else char


def _shell_escaped(char: str) -> str:
    return char if is_shown(char) and char not in "<>&`|\\'" else code(char)
