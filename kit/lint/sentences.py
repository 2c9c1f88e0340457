"""Sentences, and whether one asserts something or denies, supposes or explains it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kit.lint.fields import field_of
from kit.lint.layout import Is, Line
from kit.lint.words import says, without

_END = re.compile(r"[。;!?]|(?<=[a-z0-9)%])\.(?=\s|$)")
_CLAUSE = re.compile(r"[,、:]|\bbut\b|\band\b|但")
_KEY = re.compile(r"^([^:=]{1,60})[:=]")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a line, or one cell of a row."""

    line: Line
    text: str

    def says(self, thing: str) -> bool:
        """Whether it has the words for a thing of words.toml, however they are meant."""
        return says(thing, self.text) is not None

    def asserts(self, thing: str) -> bool:
        """Whether it has them in a clause that nothing denies or makes conditional."""
        text = without("at_most", self.text)
        found = says(thing, text)
        if not found or says("condition", text):
            return False
        begin = max((cut.end() for cut in _CLAUSE.finditer(text, 0, found.start())), default=0)
        end = next((cut.start() for cut in _CLAUSE.finditer(text, found.end())), None)
        return not says("denial", text[begin:end])


def sentences_of(line: Line) -> list[Sentence]:
    """The sentences of a line's text; of a row, those of its cells. The name of a field asserts nothing:
    `random weights: no` is no claim of random weights."""
    texts = line.cells[1:] or line.cells or (line.text,)
    key = None if line.cells else _KEY.match(line.text)
    if key and (line.what is Is.POINT or field_of(key[1])):
        texts = (line.text[key.end() :],)
    parts = (part.strip() for text in texts for part in _END.split(text))
    return [Sentence(line, part) for part in parts if part]
