"""The documents of a run as values, for tests that edit their JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.documented import read, written
from kit.evidence.rejudged import rebuild_comparison
from kit.evidence.schema import TYPES, parse
from kit.evidence.summary import explanation_of, summarise
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary


def violation(name: str, document: Any) -> str | None:
    """What breaks the form of the document `name` (run, summary or charts), None where nothing does."""
    try:
        parse(TYPES[name], document)  # type: ignore[type-var]
    except ValueError as error:
        return str(error)
    return None


def what_follows(
    record: dict[str, Any], summary: dict[str, Any], *, compared: bool = True
) -> dict[str, Any]:
    """The summary that follows from an edited record and an edited summary's own figures; a reason that
    was edited loses its code."""
    record["reason_codes"] = written(read(Run, record))["reason_codes"]
    run, told = parse(Run, record), parse(Summary, summary)
    comparison = rebuild_comparison(run, told) if compared else None
    again: dict[str, Any] = written(
        summarise(run, comparison, told.reference, explanation_of(told))
    )
    return again


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The dotted path of every value, what holds it, and its key there."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(value, (dict, list)):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", document, key
