"""How a value is read: rounded to what a reader takes in, or with the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from kit.evidence.logs import Logs
from kit.evidence.reading import Evidence
from kit.report.charts import charts_of, layers_of
from kit.report.claims import claim_of
from kit.report.outline import Block, Cell, Fact, Facts, Note, Section, Tone, Toned
from kit.report.plots import plan_plots
from kit.words import Language, Reason, Texts

_NO_DIGITS, _NEAR_ONE = 1e-13, 1e-3  # fp64 has about 16 digits, and sums lose some
_TONES: dict[str, Tone] = {"PASS": "good", "FAIL": "bad", "INVALID": "bad"}


class Told:
    """The evidence of one run, told in one language. `run` is None where the record cannot be read;
    `logs` only tells which files there are."""

    def __init__(self, logs: Logs, evidence: Evidence, language: Language) -> None:
        self.logs, self.say = logs, Texts(language)
        self.run, self.summary = evidence.run, evidence.summary
        self.claim = claim_of(self.summary)
        self.charts = charts_of(logs, evidence)
        self.layers, self.no_layers = layers_of(logs, evidence)
        self.plots = plan_plots(self.summary, self.charts, self.layers)

    @property
    def suffix(self) -> str:
        """What restricts a title that speaks of an NPU."""
        return self.say(f"suffix.{self.claim.place}")

    def at(self, dotted: str) -> Cell:
        """A value by its name in the summary, or in the record ("run.model.license").

        Where it is absent: the summary's reason for it, or the catalogue's.
        """
        head, *path = dotted.split(".")
        of = self if head == "run" else self.summary
        value: Any = getattr(of, head.replace("-", "_"))
        if value is None:
            reasons = self.summary.null_reasons
            return self.missing(
                reasons.get(head) or reasons.get("model") or self.say("null.record")
            )
        for name in path:
            reasons = getattr(value, "null_reasons", self.summary.null_reasons)
            value = getattr(value, name)
            if value is None:
                return self.missing(reasons.get(name) or self.say.first("null", name, "record"))
        return milliseconds(value) if dotted.endswith("_ms") else self.shown(value)

    def missing(self, reason: str) -> Toned:
        """What stands in the place of a value that was not measured."""
        return Toned(self.say("phrase.not_measured", reason=self.say.reason(reason)), "absent")

    def figure(self, value: Any, why: str = "figure") -> Cell:
        """A value; where it is absent, the catalogue's reason `null.<why>`."""
        return self.missing(self.say(f"null.{why}")) if value is None else self.shown(value)

    def fact(self, label: str, value: Any, **values: str) -> Fact:
        """A value by its label in the catalogue."""
        return Fact(self.say(f"label.{label}", **values), self.shown(value))

    def facts(self, *dotted: str) -> Iterator[Fact]:
        """Values by their names, each called by the catalogue's label of the last part of its name."""
        return (self.fact(name.rpartition(".")[2], self.at(name)) for name in dotted)

    def named(self, *names: str) -> Iterator[Fact]:
        """Fields of the summary by their own names, which readers of other reports look for."""
        return (Fact(name, self.at(name)) for name in names)

    def heads(self, *labels: str) -> tuple[str, ...]:
        """The head of a table."""
        return tuple(self.say(f"label.{label}") for label in labels)

    def shown(self, value: Any) -> Cell:
        """A value that is there."""
        return value if isinstance(value, Toned) else self.text(value)

    def text(self, value: Any) -> str:
        """A value in words: of floats as many digits as are read, of identifiers all."""
        if isinstance(value, Toned):
            return value.text
        if isinstance(value, Reason):
            return self.say.reason(value)
        if isinstance(value, str):
            return value.strip(" ") or self.say("phrase.empty")
        if isinstance(value, dict):
            value = [f"{self.text(key)}={self.text(item)}" for key, item in value.items()]
        if isinstance(value, (list, tuple)):
            joined = ", ".join(map(self.text, value))
            words = not value or isinstance(value[0], str)
            return (joined or self.say("phrase.none")) if words else f"[{joined}]"
        return number(value) if isinstance(value, float) else str(value)

    def section(self, key: str, *blocks: Block | Iterable[Fact], remark: str = "") -> Section:
        """A section by its key, which is its title's; bare facts are one block of them."""
        made = (each if isinstance(each, Block) else Facts(tuple(each)) for each in blocks)
        return Section(key, self.say(f"title.{key}"), tuple(made), remark)

    def without(self, key: str, field: str) -> Section:
        """A section that only says why there is nothing in it."""
        return self.section(key, Note(self.text(self.at(field)), "absent"))

    def yes(self, value: bool) -> str:
        """yes or no."""
        return self.say("phrase.yes" if value else "phrase.no")

    def good(self, value: bool) -> Toned:
        """yes, which is good, or no, which is bad."""
        return Toned(self.yes(value), "good" if value else "bad")

    def verdict(self, value: str) -> Toned:
        """A verdict by its name."""
        return Toned(value, _TONES.get(value, "caution"))


def number(value: float) -> str:
    """Five significant digits; near 1, as many as tell it from 1. summary.json has all."""
    away = abs(1 - value)
    if _NO_DIGITS < away < _NEAR_ONE:
        return f"{value:.{1 - math.floor(math.log10(away))}f}"
    return f"{value:.5g}"


def count(value: int) -> str:
    """A whole number in groups of three digits."""
    return f"{value:,}"


def milliseconds(value: float) -> str:
    """Two decimals, or two digits of what is shorter."""
    return f"{value:.2f} ms" if value >= 0.1 else f"{value:.2g} ms"
