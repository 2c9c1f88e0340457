"""Sentences, and whether one asserts something or denies, supposes or explains it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kit.lint.fields import field_of
from kit.lint.layout import Is, Line

_END = re.compile(r"[。;!?]|(?<=[a-z0-9)%])\.(?=\s|$)")
_CLAUSE = re.compile(r"[,、:]|\bbut\b|\band\b|但")
_KEY = re.compile(r"^([^:=]{1,60})[:=]")
_NOT = re.compile(
    r"\b(?:not|no|never|none|without|neither|nor|cannot|isn't|aren't|wasn't|instead of|rather than|unless"
    r"|false)\b|simulat|模拟|不|未|非|没有|并无|无法|而不是",
    re.IGNORECASE,
)
# Denials that affirm.
_AT_MOST = re.compile(
    r"不超过|不大于|不高于|(?:no|not) (?:more|greater|larger) than|(?:does|do) not exceed",
    re.IGNORECASE,
)
_IF = re.compile(
    r"\b(?:if|when|whether|where|unless|would|could(?! not)|may|must|should|can(?! ?not)|otherwise"
    r"|example|e\.g)\b"
    r"|如果|若|假如|否则|是否|例如|应当|可能",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sentence:
    """One sentence of a line, or one cell of a row."""

    line: Line
    text: str

    def asserts(self, pattern: re.Pattern[str]) -> bool:
        """Whether the pattern is found in a clause that nothing denies or makes conditional."""
        text = _AT_MOST.sub("<=", self.text)
        found = pattern.search(text)
        if not found or _IF.search(text):
            return False
        begin = max((cut.end() for cut in _CLAUSE.finditer(text, 0, found.start())), default=0)
        end = next((cut.start() for cut in _CLAUSE.finditer(text, found.end())), None)
        return not _NOT.search(text[begin:end])


def sentences_of(line: Line) -> list[Sentence]:
    """The sentences of a line's text; of a row, those of its cells. The name of a field asserts nothing:
    `random weights: no` is no claim of random weights."""
    texts = line.cells[1:] or line.cells or (line.text,)
    key = None if line.cells else _KEY.match(line.text)
    if key and (line.what is Is.POINT or field_of(key[1])):
        texts = (line.text[key.end() :],)
    parts = (part.strip() for text in texts for part in _END.split(text))
    return [Sentence(line, part) for part in parts if part]
