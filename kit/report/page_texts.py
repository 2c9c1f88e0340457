"""The page's texts by language: page_texts.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from kit.report.texts import Texts

Language = Literal["zh", "en"]


class PageTexts:
    """The texts in one language; what a record says in English is translated where it is known."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._texts = _catalogue()
        english = language == "en"
        self.plot_labels: Mapping[str, str] = {} if english else self._texts["plot_labels"]
        self.reason = Texts(language).reason

    def __call__(self, key: str, **values: object) -> str:
        """The text `key` with its braces filled in. Raises KeyError for one that is not there."""
        text: str = self._texts[key][self._language]
        return text.format(**values) if values else text

    def not_measured(self, reason: str) -> str:
        """What stands for a figure that is absent."""
        return self("not_measured", reason=self.reason(reason))


@cache
def _catalogue() -> dict[str, Any]:
    file = resources.files("kit.report").joinpath("page_texts.toml")
    return tomllib.loads(file.read_text("utf-8"))
