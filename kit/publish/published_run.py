"""The run that is published: its evidence by an allowlist, and only if it is what its record says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.errors import UntrustedError, UsageError
from kit.evidence.documents import AGAIN
from kit.evidence.logs import (
    CHARTS,
    COMPARE_LOG,
    GOLDEN,
    INPUTS,
    OUTPUTS,
    PAGE,
    PLOTS,
    RECORD,
    REFERENCE,
    REPORT,
    REPORT_ENGLISH,
    RUN_LOG,
    SAMPLE_FIGURES,
    SAMPLES,
    SUMMARY,
    WEIGHTS_LOG,
    Logs,
    claim_logs,
)
from kit.evidence.reading import Evidence, read_evidence
from kit.models.adapter import Adapter
from kit.publish.privacy import shorten_paths
from kit.report.command import write_reports
from kit.report.markdown import render
from kit.report.texts import LANGUAGES

_DOCUMENTS = (RECORD, SUMMARY, SAMPLE_FIGURES, CHARTS, REPORT, REPORT_ENGLISH, PAGE)
_TEXT_LOGS = (RUN_LOG, WEIGHTS_LOG, COMPARE_LOG)
_PLOTS = (".svg", ".png")
# Of one file of tensors. Hubs and git take small files as they are; above it, none is published.
LARGEST_TENSORS = 20_000_000
# torch's names of safetensors' types.
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "BOOL": "bool",
}


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """`files` by their path in the repository; `left_out` names evidence that the documents speak of and
    the repository does not have, with the reason; `shortened` the logs that named paths."""

    files: dict[str, bytes]
    evidence: Evidence | None = None
    left_out: list[str] = field(default_factory=list)
    shortened: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The run in a few words."""
        if self.evidence is None:
            return "no run"
        summary = self.evidence.summary
        return f"a run on {summary['device_name']}: {summary['verdict']}"


def read_run(folder: Path, adapter: Adapter) -> PublishedRun:
    """The run in `folder`, or none where the folder holds none.

    Raises UsageError where it is of another model, UntrustedError where a file is not what the record
    says, CannotRunError while a run is going on in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--logs {folder}: there is no such folder; name the one of the run")
    keep = {"logs/.gitkeep": b""}
    if not any((folder / name).exists() for name in (RECORD, SUMMARY)):
        return PublishedRun(files=keep)
    with claim_logs(folder) as logs:
        evidence = read_evidence(folder)
        _check(evidence, adapter, folder)
        _check_report(logs, evidence)
        tensors, left_out = _tensors(logs, evidence)
        texts = {name: (folder / name).read_text("utf-8") for name in _present(logs, _TEXT_LOGS)}
        short = {name: shorten_paths(text) for name, text in texts.items()}
        plain = [*_present(logs, _DOCUMENTS), *_plots(folder)]
        files = {name: (folder / name).read_bytes() for name in plain}
    files |= tensors | {name: text.encode("utf-8") for name, text in short.items()}
    return PublishedRun(
        files=keep | {f"logs/{name}": content for name, content in files.items()},
        evidence=evidence,
        left_out=left_out,
        shortened=[f"logs/{name}" for name, text in texts.items() if short[name] != text],
    )


def _check(evidence: Evidence, adapter: Adapter, folder: Path) -> None:
    if not evidence.record:
        raise UntrustedError(f"{folder / RECORD} cannot be read: {AGAIN}")
    ours, theirs = adapter.place.name, evidence.record["model"]["adapter"]
    if theirs != ours:
        raise UsageError(
            f"{folder} holds a run of {theirs}, not of {ours}: run inference.py --model {ours}, or name "
            "another folder with --logs (an empty one publishes no run)"
        )


def _check_report(logs: Logs, evidence: Evidence) -> None:
    """Write the report where there is none; one that says something else is not published."""
    path = logs.path(REPORT)
    if not path.is_file():
        write_reports(logs)
    elif path.read_text("utf-8") not in [render(logs, evidence, each) for each in LANGUAGES]:
        raise UntrustedError(
            f"{path} is not what the evidence says: write it again with python -m kit report"
        )


def _tensors(logs: Logs, evidence: Evidence) -> tuple[dict[str, bytes], list[str]]:
    """Every file of tensors that the documents describe: its bytes, or why it is left out."""
    files, left_out = {}, []
    for name, described in _described(evidence):
        path = logs.path(name)
        if not path.exists() or path.stat().st_size > LARGEST_TENSORS:
            limit = f"over {LARGEST_TENSORS // 1_000_000} MB"
            left_out.append(f"logs/{name} ({limit}, or not there)")
            continue
        files[name] = path.read_bytes()
        if _describe(name, files[name]) != described:
            raise UntrustedError(
                f"{name} is not what the documents say (names, shape, dtype or sha256): {AGAIN}"
            )
    if evidence.record["samples"]:
        left_out.append(f"logs/{SAMPLES}/ (every sample's outputs)")
    return files, left_out


def _describe(name: str, content: bytes) -> dict[str, Any]:
    """Every tensor of a file as kit.storage.fingerprint.describe_tensors has it; needs no torch."""
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(content)
    except SafetensorError as error:
        raise UntrustedError(f"{name} is damaged ({error}): {AGAIN}") from error
    return {
        tensor: {
            "shape": list(view["shape"]),
            "dtype": _DTYPES.get(view["dtype"], view["dtype"]),
            "sha256": hashlib.sha256(view["data"]).hexdigest(),
        }
        for tensor, view in tensors
    }


def _described(evidence: Evidence) -> Iterator[tuple[str, Mapping[str, Any]]]:
    record, saved = evidence.record, evidence.summary["reference"] or {}
    golden = saved.get("golden") or {}
    for name, described in (
        (INPUTS, (record["input"] or {}).get("tensors")),
        (OUTPUTS, record["outputs"]),
        (REFERENCE, saved.get("outputs")),
        (GOLDEN, golden.get("outputs")),
    ):
        if described:
            yield name, described


def _present(logs: Logs, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if logs.path(name).is_file()]


def _plots(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / PLOTS).glob("*")
        if path.is_file() and path.suffix in _PLOTS
    )
