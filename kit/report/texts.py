"""The words of a report in one language, from texts.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

LANGUAGES = ("zh", "en")


class Texts:
    """Looks texts up by dotted key: say("label.name")."""

    def __init__(self, language: str) -> None:
        self._language = language

    def __call__(self, key: str, **values: Markup | int) -> Markup:
        """The text `key` with its {braces} filled in; `values` are harmless already (Markup)."""
        section, _, name = key.partition(".")
        return Markup(_catalogue()[section][name][self._language].format(**values))

    def why_null(self, name: str) -> Markup:
        """Why the figure `name` inside a section is absent."""
        return self(f"null.{name}" if name in _catalogue()["null"] else "null.figure")

    def reason(self, english: str) -> str:
        """A reason of the record, as it is where there is no translation."""
        known: dict[str, str] = {} if self._language == "en" else _catalogue()["reasons"]
        return known.get(english, english)


@cache
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(resources.files("kit.report").joinpath("texts.toml").read_text("utf-8"))
