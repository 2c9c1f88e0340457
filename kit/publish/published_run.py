"""The run that is published: its evidence by an allowlist, and only if it is what its record says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import UNSET

from kit.errors import CannotRunError, UntrustedError, UsageError
from kit.evidence.comparison_log import comparison_text
from kit.evidence.documents import read_charts
from kit.evidence.layers import read_layers
from kit.evidence.logs import (
    CHARTS,
    COMPARE_LOG,
    GOLDEN,
    INPUTS,
    LAYERS,
    LOCK,
    MODULE_CALLS,
    OUTPUTS,
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
from kit.evidence.remeasured import measuring_again
from kit.evidence.search_log import search_text
from kit.models.adapter import Adapter
from kit.publish.privacy import shorten_paths
from kit.report.command import render_reports
from kit.report.markdown import render
from kit.storage.file_kinds import kind_of_bytes
from kit.storage.fingerprint import TORCH_NAMES, SavedTensor
from kit.words import LANGUAGES, Reason

_DOCUMENTS = (RECORD, SUMMARY, SAMPLE_FIGURES, CHARTS, LAYERS)
_TEXT_LOGS = (RUN_LOG, WEIGHTS_LOG, COMPARE_LOG)
_TENSORS = (INPUTS, OUTPUTS, REFERENCE, GOLDEN)
# Of one file of tensors. Hubs and git take small files as they are; above it, none is published.
LARGEST_TENSORS = 20_000_000


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
        return f"a run on {summary.device_name}: {summary.verdict}"


def read_run(folder: Path, adapter: Adapter) -> PublishedRun:
    """The run in `folder`, or none where the folder holds none.

    Files of the names that the kit writes, and nothing else; the reports and plots are made afresh. Raises
    UsageError where the run is of another model, UntrustedError where a file is not what the record says,
    or no plain file, CannotRunError while a run is going on in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--logs {folder}: there is no such folder", "name the one of the run")
    keep = {"logs/.gitkeep": b""}
    if not any(os.path.lexists(folder / name) for name in (RECORD, SUMMARY)):
        return PublishedRun(files=keep)
    _refuse_links(folder)
    with claim_logs(folder) as logs:
        believe = measuring_again(logs)
        evidence = read_evidence(folder)
        _check(evidence, adapter, folder)
        files = {name: (folder / name).read_bytes() for name in _documents(logs, evidence)}
        language = _language(logs, evidence)
        tensors, left_out = _tensors(logs, evidence)
        _check_logs(logs, evidence)
        texts = {name: (folder / name).read_text("utf-8") for name in _present(logs, _TEXT_LOGS)}
        short = {name: shorten_paths(text) for name, text in texts.items()}
        reports = _rendered(logs, language)
        believe()
    files |= reports | tensors | {name: text.encode("utf-8") for name, text in short.items()}
    return PublishedRun(
        files=keep | {f"logs/{name}": content for name, content in files.items()},
        evidence=evidence,
        left_out=left_out,
        shortened=[f"logs/{name}" for name, text in texts.items() if short[name] != text],
    )


def _check(evidence: Evidence, adapter: Adapter, folder: Path) -> None:
    if evidence.run is None:
        raise UntrustedError(f"{folder / RECORD} cannot be read", Reason("run_again"))
    ours, theirs = adapter.place.name, evidence.run.model.adapter
    if theirs != ours:
        raise UsageError(
            f"{folder} holds a run of {theirs}, not of {ours}",
            f"run inference.py --model {ours}, or name another folder with --logs (an empty one "
            "publishes no run)",
        )


def _refuse_links(folder: Path) -> None:
    """What would be read is a plain file, and no second name of one that lies elsewhere."""
    for name in (LOCK, *_DOCUMENTS, *_TEXT_LOGS, *_TENSORS, REPORT, REPORT_ENGLISH):
        if not os.path.lexists(folder / name):
            continue
        found = (folder / name).lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise UntrustedError(
                f"{folder / name} is a link (a hard one, perhaps) or no file at all: the kit "
                "writes plain files",
                "put the run's own one there, or make the run again",
            )


def _language(logs: Logs, evidence: Evidence) -> str:
    """The language of the run's report; one that says something else is not published."""
    path = logs.path(REPORT)
    if not path.exists():
        return LANGUAGES[0]
    text = path.read_text("utf-8")
    for language in LANGUAGES:
        if text == render(logs, evidence, language):
            both = language == LANGUAGES[0] and logs.path(REPORT_ENGLISH).exists()
            return "both" if both else language
    raise UntrustedError(
        f"{path} is not what the evidence says", "write it again with python -m kit report"
    )


def _check_logs(logs: Logs, evidence: Evidence) -> None:
    """Raise UntrustedError where accuracy_compare.log or pretrained_attempt.log is not what the kit writes
    of that summary and that record. run_npu.log is what was printed: nothing can say it again."""
    compared, summary = _text_of(logs, COMPARE_LOG), evidence.summary
    refused = summary.verdict == "INVALID" and (compared or "").startswith("verdict: INVALID\n")
    if compared is not None and not refused and compared != comparison_text(summary, logs):
        raise UntrustedError(
            f"{logs.path(COMPARE_LOG)} is not what the evidence says",
            "write it again with python compare_accuracy.py --rejudge",
        )
    searched, weights = _text_of(logs, WEIGHTS_LOG), evidence.run and evidence.run.weights
    if searched is None or not weights:
        return
    told = search_text(weights.attempts, weights.weight_path, next(iter(weights.files), None))
    if searched.partition("\n")[2] != told:
        raise UntrustedError(
            f"{logs.path(WEIGHTS_LOG)} is not what the evidence says", Reason("run_again")
        )


def _text_of(logs: Logs, name: str) -> str | None:
    path = logs.path(name)
    return path.read_text("utf-8") if path.exists() else None


def _rendered(logs: Logs, language: str) -> dict[str, bytes]:
    """The reports and plots of the run, made in a folder where nothing else lies."""
    with TemporaryDirectory() as scratch:
        copy = Logs(Path(scratch))
        evidence = _present(logs, (*_DOCUMENTS, *_TEXT_LOGS, *_TENSORS))
        try:
            for name in evidence:
                shutil.copyfile(logs.path(name), copy.path(name))
        except OSError as error:
            raise CannotRunError(
                f"the run cannot be copied to {scratch} ({error.strerror})",
                "free the disk, or set TMPDIR to a folder with room",
            ) from error
        render_reports(copy, language)
        made = [path for path in copy.folder.rglob("*") if path.is_file()]
        names = {path.relative_to(copy.folder).as_posix(): path for path in made}
        return {name: path.read_bytes() for name, path in names.items() if name not in evidence}


def _documents(logs: Logs, evidence: Evidence) -> list[str]:
    """The documents of the run that are there, each being what its name says."""
    read_charts(logs)
    names = _present(logs, _DOCUMENTS)
    explanation = evidence.summary.explanation
    if explanation and explanation.layers:
        read_layers(logs, explanation.layers)
    elif LAYERS in names:
        names.remove(LAYERS)  # of no comparison that the summary knows
    if SAMPLE_FIGURES in names and not (evidence.run and evidence.run.samples):
        names.remove(SAMPLE_FIGURES)  # of no run that the record knows
    elif SAMPLE_FIGURES in names:
        try:
            lines = logs.path(SAMPLE_FIGURES).read_text("utf-8").splitlines()
            if not all(isinstance(json.loads(line), dict) for line in lines):
                raise ValueError("a line is no object")
        except ValueError as error:
            raise UntrustedError(
                f"{SAMPLE_FIGURES} is damaged ({error})", Reason("run_again")
            ) from error
    return names


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
        if (kind := kind_of_bytes(files[name])).code == "lfs-pointer":
            raise UntrustedError(f"{path} is {kind.words}", kind.cure)
        if describe_file(name, files[name]) != described:
            raise UntrustedError(
                f"{name} is not what the documents say (names, shape, dtype or sha256)",
                Reason("run_again"),
            )
    if evidence.run and evidence.run.module_calls is not UNSET:
        left_out.append(f"logs/{MODULE_CALLS} (what every module call took and gave)")
    if evidence.run and evidence.run.samples:
        left_out.append(f"logs/{SAMPLES}/ (every sample's outputs)")
    return files, left_out


def describe_file(name: str, content: bytes) -> dict[str, SavedTensor]:
    """Every tensor of a file as kit.storage.fingerprint.describe_tensors has it; needs no torch."""
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(content)
    except SafetensorError as error:
        raise UntrustedError(f"{name} is damaged ({error})", Reason("run_again")) from error
    return {
        tensor: SavedTensor(
            shape=list(view["shape"]),
            dtype=TORCH_NAMES.get(view["dtype"], view["dtype"]),
            sha256=hashlib.sha256(view["data"]).hexdigest(),
        )
        for tensor, view in tensors
    }


def _described(evidence: Evidence) -> Iterator[tuple[str, Mapping[str, SavedTensor]]]:
    run, saved = evidence.run, evidence.summary.reference
    for name, described in (
        (INPUTS, run.input.tensors if run and run.input else None),
        (OUTPUTS, run.outputs if run else None),
        (REFERENCE, saved.outputs if saved else None),
        (GOLDEN, saved.golden.outputs if saved else None),
    ):
        if described:
            yield name, described


def _present(logs: Logs, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if logs.path(name).is_file()]
