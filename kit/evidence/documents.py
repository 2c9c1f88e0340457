"""The JSON documents as they lie in logs/: strict JSON that fits its schema, or an error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from kit.errors import UntrustedError, UsageError
from kit.evidence.logs import CHARTS, RECORD, SUMMARY, Logs
from kit.evidence.schema import SCHEMA_VERSION, Document, parse
from kit.evidence.types.charts import Charts
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.storage.file_kinds import check_at_hand
from kit.storage.names import check_regular
from kit.words import Reason


def read_summary(logs: Logs) -> Summary:
    """summary.json. Raises UsageError where there is none, UntrustedError where it is damaged."""
    return read_summary_file(logs.path(SUMMARY))


def read_summary_file(path: Path) -> Summary:
    """A summary, wherever it lies. Raises UsageError and UntrustedError as read_summary does."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file", "run inference.py first")
    return _read(Summary, path)


def read_record(logs: Logs) -> Run:
    """run.json. Raises UsageError where there is none, UntrustedError where it is damaged, CannotRunError
    where it is not at hand."""
    path = logs.path(RECORD)
    if not path.exists() and logs.path(SUMMARY).exists():
        raise UntrustedError(
            Reason("record_missing", record=RECORD, summary=SUMMARY), Reason("run_again")
        )
    if not path.exists():
        raise UsageError(
            f"{path}: there is no such file", f"run inference.py --logs {logs.folder} first"
        )
    return _read(Run, path)


def read_charts(logs: Logs) -> Charts | None:
    """charts.json, None where there is none. Raises UntrustedError where it is damaged."""
    path = logs.path(CHARTS)
    return _read(Charts, path) if path.exists() else None


def _read(kind: type[Document], path: Path) -> Document:
    try:
        check_regular(path)
        check_at_hand(path)
        text = path.read_text("utf-8")
        document = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repetition,
        )
        json.dumps(document, ensure_ascii=False).encode("utf-8")  # no lone surrogates
    except (OSError, ValueError, RecursionError) as error:
        why = str(error).replace(str(path), path.name)  # no folder of this machine
        raise UntrustedError(
            Reason("document_damaged", name=path.name, said=str(why)), Reason("run_again")
        ) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise UntrustedError(
            Reason("other_schema", name=path.name, version=repr(version), ours=SCHEMA_VERSION),
            Reason("run_again"),
        )
    try:
        return parse(kind, document)
    except ValueError as error:
        raise UntrustedError(
            Reason("document_damaged", name=path.name, said=str(error)[:300]), Reason("run_again")
        ) from error


def _no_constant(token: str) -> None:
    raise ValueError(f"{token} is no JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r:.100} stands there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value
