"""What reports state, and the names they give it (fields.toml): summary.json's own, English, Chinese."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """How a field's value is read."""

    NUMBER = "number"
    FLAG = "flag"
    VERSION = "version"
    CHIP = "chip"
    TEXT = "text"


@dataclass(frozen=True)
class Field:
    """One thing that a report may state: a table of fields.toml, which says what each part means."""

    name: str
    kind: Kind
    aliases: tuple[str, ...]
    names: tuple[str, ...]
    several: bool


def _read() -> Iterator[Field]:
    table = tomllib.loads((Path(__file__).parent / "fields.toml").read_text("utf-8"))
    for name, row in table.items():
        aliases, names = (name, *row["aliases"]), (name, *row.get("with", ()))
        yield Field(name, Kind(row["kind"]), aliases, names, row.get("several", False))


FIELDS = tuple(_read())
BY_NAME = {field.name: field for field in FIELDS}
# In bytes: a word, or two Chinese characters. Within a sentence, shorter names are no names.
_SHORT = 6


def squeezed(key: str) -> str:
    """A key without what writers vary: case, blanks, hyphens, underscores, marks, a remark at its end."""
    bare = re.sub(r"[\[(][^\[\]()=]{0,60}[\])]\s*$", "", key)
    return re.sub(r"[\s_\-*`'\"\u2191\u2193]+", "", bare).casefold()


_BY_ALIAS = {squeezed(alias): field for field in FIELDS for alias in field.aliases}


def field_of(key: str) -> Field | None:
    """The field that a key names, or None."""
    name = squeezed(key)
    return _BY_ALIAS.get(name) or _BY_ALIAS.get(name.removesuffix("ms"))


def _any_of(fields: list[Field], shortest: int) -> str:
    """A pattern of every alias, longest first; a latency's unit may follow its name."""
    names = {alias for field in fields for alias in field.aliases}
    ordered = sorted(names, key=lambda name: (-len(name), name))
    patterns = [
        r"[\s_-]{0,2}".join(re.escape(word) for word in re.split(r"[\s_-]+", name))
        for name in ordered
        if len(name.encode()) >= shortest
    ]
    return "(" + "|".join(patterns) + r")(?:[\s_](?=ms))?(?:ms)?"


# A name glued to its value, as pages lose the columns of their tables: `max_abs_diff0.000122`.
GLUED = re.compile(rf"^{_any_of(list(FIELDS), 2)}", re.IGNORECASE)
# A name within a sentence, before = : < or >.
WITHIN = re.compile(
    r"(?<![A-Za-z0-9_./-])"
    + _any_of([field for field in FIELDS if field.kind in (Kind.NUMBER, Kind.FLAG)], _SHORT)
    + r"(?:\s?\([^()]{0,40}\))?\s{0,2}(==|<=|>=|[=:<>\u2264\u2265\u2248])\s{0,2}",
    re.IGNORECASE,
)
