"""In which words reports say a thing (words.toml), in English and Chinese."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_TABLE = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
_WORDS = {name: re.compile("|".join(said), re.IGNORECASE) for name, said in _TABLE.items()}


def says(thing: str, text: str) -> re.Match[str] | None:
    """Where `text` has the words for a thing of words.toml, however they are meant."""
    return _WORDS[thing].search(text)


def every(thing: str, text: str) -> list[str]:
    """All of its words in `text`, in lower case."""
    return [found[0].casefold() for found in _WORDS[thing].finditer(text)]


def without(thing: str, text: str) -> str:
    """`text` with a blank for each of its words."""
    return _WORDS[thing].sub(" ", text)
