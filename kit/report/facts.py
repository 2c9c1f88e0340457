"""What a report shows of the evidence: every value made harmless, or the reason why there is none."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from kit.evidence.reading import Evidence
from kit.report.escaping import markdown
from kit.report.texts import Texts

# Sections of run.json that the summary has by another name, of which it says why they are null.
_NAMED = {"arguments": "dtype", "described": "output_shape"}


class Facts:
    """The values of one run's documents, as Markdown."""

    def __init__(self, evidence: Evidence, say: Texts) -> None:
        self._record, self._summary, self._say = evidence.record, evidence.summary, say

    def show(self, value: Any) -> Markup:
        """A value that is there: numbers with all their digits, text as it reads."""
        if isinstance(value, Markup):
            return value
        if isinstance(value, str):
            return markdown(value) or self._say("phrase.empty")
        if isinstance(value, (bool, int, float)):
            return Markup(repr(value))
        if isinstance(value, list):
            if not value:
                return self._say("phrase.none")
            joined = Markup(", ").join(map(self.show, value))
            return joined if isinstance(value[0], str) else Markup(f"[{joined}]")
        if isinstance(value, dict):
            return Markup(", ").join(
                markdown(key) + "=" + self.show(item) for key, item in value.items()
            ) or self._say("phrase.none")
        raise TypeError(f"a {type(value).__name__} is nothing to show")

    def missing(self, reason: str) -> Markup:
        """What stands in the place of a value that was not measured."""
        if not isinstance(reason, Markup):
            reason = self._say.reason(reason)
        return self._say("phrase.not_measured", reason=self.show(reason))

    def figure(self, value: Any, name: str) -> Markup:
        """A value inside a section; where it is absent, with the catalogue's reason for `name`."""
        return self.missing(self._say.why_null(name)) if value is None else self.show(value)

    def field(self, name: str) -> Markup:
        """A field of the summary's top level; where it is null, with the summary's own reason."""
        value = self._summary[name]
        if value is None:
            return self.missing(self._summary["null_reasons"][name])
        return self.show(value)

    def has(self, section: str) -> bool:
        """Whether the run reached a section of its record."""
        return self._record.get(section) is not None

    def why_not(self, section: str) -> Markup:
        """Why a section is absent."""
        reasons = self._summary["null_reasons"]
        known = reasons.get(_NAMED.get(section, section)) or reasons.get("model")
        return self.missing(known or self._say("null.record"))

    def at(self, dotted: str, name: str = "record") -> Markup:
        """A value of the record by its dotted name; `name` is of the reason where it alone is null."""
        section, *rest = dotted.split(".")
        if not self.has(section):
            return self.why_not(section)
        value = self._record[section]
        for key in rest:
            value = value.get(key)
        return self.figure(value, name)
