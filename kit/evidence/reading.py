"""What a report is made from: run.json and summary.json of one run, checked before they are shown.

The summary must follow from the record and from its own figures, the figures must fit each other
(kit/evidence/invariants.py), and the record must not contradict itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.documented import written
from kit.errors import UntrustedError
from kit.evidence.documents import read_record, read_summary
from kit.evidence.handover import read_adapter
from kit.evidence.invariants import broken_claims
from kit.evidence.logs import RECORD, SUMMARY, Logs
from kit.evidence.rejudged import rebuild_comparison
from kit.evidence.summary import explanation_of, summarise
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.words import Reason

# What documents that fit their schemas, but not each other, can make of the code that reads them.
_DOES_NOT_FIT = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, StopIteration)


@dataclass(frozen=True)
class Evidence:
    """The documents of one run, each fitting its schema, and not contradicting each other.

    `run` is None where run.json cannot be read and summary.json says so (INVALID).
    """

    run: Run | None
    summary: Summary


def read_evidence(folder: Path) -> Evidence:
    """The evidence in a run's folder (logs/, or one of logs/history/), in whatever state the two
    scripts left it.

    Raises UsageError where there is no run, UntrustedError where a document is damaged or says what
    cannot be so.
    """
    logs = Logs(folder)
    summary = read_summary(logs)
    run = _read_run(logs, summary)
    if run is not None and run.status == "INTERRUPTED" and summary.verdict == "NOT_COMPARED":
        summary = summarise(run)  # the run may have been ended between the writes of the two
    check_evidence(logs, run, summary)
    return Evidence(run=run, summary=summary)


def check_evidence(logs: Logs, run: Run | None, summary: Summary) -> None:
    """Raise UntrustedError where the two say what cannot be so."""
    try:
        _check_summary(run, summary)
        # Of a run that is INVALID without a comparison, no figure is shown: it says why, and that is all.
        if summary.outputs is not None or summary.verdict != "INVALID":
            _check_record(logs, run)
        claim = next(broken_claims(run, summary), None)
    except _DOES_NOT_FIT as error:
        raise UntrustedError(
            Reason("do_not_fit", summary=SUMMARY, record=RECORD, said=repr(error)[:200]),
            Reason("run_again"),
        ) from error
    if claim:
        raise UntrustedError(
            Reason("says_impossible", summary=SUMMARY, claim=str(claim)), Reason("run_again")
        )


def _read_run(logs: Logs, summary: Summary) -> Run | None:
    try:
        return read_record(logs)
    except UntrustedError:
        if summary.verdict == "INVALID":
            return None
        raise


def _check_summary(run: Run | None, summary: Summary) -> None:
    """Raise UntrustedError where the summary does not follow from the record and its own figures."""
    comparison = rebuild_comparison(run, summary) if run and summary.outputs is not None else None
    invalid = None
    if comparison is None and summary.verdict == "INVALID":
        invalid = summary.null_reasons["outputs"]
    explanation = explanation_of(summary)
    again = summarise(run, comparison, summary.reference, explanation, invalid=invalid)
    if different := next(_differences(written(again), written(summary)), None):
        raise UntrustedError(
            Reason("does_not_follow", what=different, summary=SUMMARY, record=RECORD),
            Reason("run_again"),
        )


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """Dotted names of what differs."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        if ours != theirs:
            yield name
        return
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        dotted = f"{name}.{key}" if name else key
        if key in ours and key in theirs:
            yield from _differences(ours[key], theirs[key], dotted)
        else:
            yield dotted


def _check_record(logs: Logs, run: Run | None) -> None:
    """Raise UntrustedError where the record is of another model than this checkout's, or contradicts
    itself."""
    if run is None:
        raise UntrustedError(Reason("record_unread", record=RECORD), Reason("run_again"))
    read_adapter(logs, run)
