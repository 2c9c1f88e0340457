"""The words of a report in one language, from texts.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")


class Texts:
    """Looks texts up by dotted key: say("label.vendor")."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """The text `key` with its {braces} filled in. Raises KeyError for one that is not there."""
        section, _, name = key.partition(".")
        text: str = catalogue()[section][name][self.language]
        return text.format(**values) if values else text

    def first(self, section: str, *names: str) -> str:
        """The text of the first of `names` that the section has."""
        return self(f"{section}.{next(name for name in names if name in catalogue()[section])}")

    def reason(self, english: str) -> str:
        """A reason of the record, as it is where there is no translation."""
        return self._translated("reasons", english)

    def drawn(self, english: str) -> str:
        """A label of a plot, which is drawn in English."""
        return self._translated("drawn", english)

    def _translated(self, section: str, english: str) -> str:
        return english if self.language == "en" else catalogue()[section].get(english, english)


@cache
def catalogue() -> dict[str, Any]:
    """Every text: by section and name in both languages, or (reasons, drawn) by the English one."""
    return tomllib.loads(resources.files("kit.report").joinpath("texts.toml").read_text("utf-8"))
