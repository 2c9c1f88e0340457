"""What a report is made from: run.json and summary.json of one run, checked before they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.documents import read_record, read_summary
from kit.logs import Logs


@dataclass(frozen=True)
class Evidence:
    """The documents of one run, each fitting its schema, and not contradicting each other."""

    record: dict[str, Any]
    summary: dict[str, Any]


def read_evidence(folder: Path) -> Evidence:
    """The evidence in a run's folder (logs/, or one of logs/history/).

    Raises UsageError where there is no run, UntrustedError where a document is damaged.
    """
    logs = Logs(folder)
    return Evidence(record=read_record(logs), summary=read_summary(logs))
