"""The kit's words in both languages, from words.toml: a report's texts, and the reasons of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
Value: TypeAlias = "str | int | float | Sequence[str]"


class Reason(str):
    """Why something is as it is: a code of the catalogue, and its values.

    It is its English text, so that the console, a log and JSON have it as it stands; told() gives the
    other language. A value may be a reason itself, or several.
    """

    code: str
    values: Mapping[str, Value]

    def __new__(cls, code: str, /, **values: Value) -> Reason:
        """Raises KeyError for a code that is not in the catalogue, or with other values than it has."""
        if values.keys() != value_names(code):
            raise KeyError(f"{code}: {', '.join(values)}")
        reason = super().__new__(cls, _filled(code, values, "en"))
        reason.code, reason.values = code, values
        return reason

    def __getnewargs_ex__(self) -> tuple[tuple[str], Mapping[str, Value]]:
        """What a copy is made of."""
        return (self.code,), self.values

    @classmethod
    def said(cls, text: str) -> Reason:
        """What someone else says: an error, a library, the author of a model. A reason stays one."""
        return text if isinstance(text, Reason) else cls("said", text=text)

    def told(self, language: Language) -> str:
        """The reason in a language; what someone else says is only quoted."""
        return _filled(self.code, self.values, language)


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

    def reason(self, reason: str) -> str:
        """A reason in this language; any other text as it is."""
        return reason.told(self.language) if isinstance(reason, Reason) else reason

    def drawn(self, english: str) -> str:
        """A label of a plot, which is drawn in English."""
        return english if self.language == "en" else catalogue()["drawn"].get(english, english)


class _Several(tuple[str, ...]):
    """Texts in the place of one value: {why} puts "; " between them, {why:, } what it says."""

    def __format__(self, between: str) -> str:
        return (between or "; ").join(self)


@cache
def value_names(code: str) -> frozenset[str]:
    """The names of the values that a reason of this code has."""
    from string import Formatter

    text = catalogue()["reason"][code]["en"]
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def _filled(code: str, values: Mapping[str, Value], language: Language) -> str:
    text: str = catalogue()["reason"][code][language]
    return text.format(**{name: _shown(value, language) for name, value in values.items()})


def _shown(value: Value, language: Language) -> Value:
    if isinstance(value, Reason):
        return value.told(language)
    if isinstance(value, (str, int, float)):
        return value
    return _Several(str(_shown(each, language)) for each in value)


@cache
def catalogue() -> dict[str, Any]:
    """Every text: by section and name in both languages, or (drawn) by the English one."""
    import tomllib  # only here: --help has no reasons

    return tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
