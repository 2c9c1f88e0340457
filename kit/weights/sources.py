"""Where a model's weights come from: one chain of sources, each attempt on record.

explicit path -> Hugging Face cache -> ModelScope caches -> KIT_WEIGHTS_CACHE -> hub. The first file
whose bytes hold what is known of them wins; a local copy that is good costs no network request.
A further source (a mirror, ModelScope's SDK) is one more function in CHAIN.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.errors import UsageError
from kit.weights import caches
from kit.weights.caches import resolve
from kit.weights.hashes import (
    DamagedFileError,
    PickleError,
    WeightFile,
    check_safetensors,
    is_sha256,
    weight_file,
)
from kit.weights.progress import Deadline, megabytes

if TYPE_CHECKING:
    from kit.adapter import ModelInfo
    from kit.weights.hub import HubSession

__all__ = ["Attempt", "Located", "WeightFile", "check_explicit", "locate", "resolve"]

Source = Literal["file", "hf-cache", "modelscope-cache", "weights-cache", "hub"]
Outcome = Literal["found", "absent", "refused", "failed", "skipped"]

# Companion files are small: a host that is slow with them must not eat the run's whole deadline.
COMPANION_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at one place. `target` and `reason` hold no credentials and no path of this machine;
    `reason` is one line that ends with the cure where there is one."""

    source: Source
    target: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Located:
    """What the chain gave: the file and its label, or None and why; `companions` by file name.

    `downloaded`: bytes of a file came over the network in this call, even if they were of no use.
    """

    file: WeightFile | None
    label: str | None
    attempts: tuple[Attempt, ...]
    companions: Mapping[str, Path]
    downloaded: bool

    @property
    def pretrained_used(self) -> bool | None:
        """True: the hash is published or the hub's; None: nobody vouches; False: no file."""
        if self.file is None:
            return False
        return None if self.file.hash_origin == "computed" else True

    @property
    def pretrained_reason(self) -> str:
        """One line: why pretrained_used is what it is."""
        if self.file is None:
            return "no weights: " + " | ".join(f"{a.source}: {a.reason}" for a in self.attempts)
        return {
            "published": "the file's sha256 is the published one",
            "hub": "the file's sha256 is the hub's own",
            "computed": "a good file whose sha256 matches no published hash",
        }[self.file.hash_origin]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What every source is asked."""

    info: ModelInfo
    offline: bool
    deadline: Deadline
    log: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What one source gave: its attempts, and the file and label where it had one."""

    attempts: tuple[Attempt, ...]
    file: WeightFile | None = None
    label: str | None = None
    downloaded: bool = False


def locate(
    info: ModelInfo,
    *,
    path: Path | None = None,
    offline: bool = False,
    timeout: float = 1800.0,
    log: Callable[[str], None],
) -> Located:
    """Walk the chain for `info.weights`. `timeout` (seconds) ends any download as a whole.

    Safe in a background thread, and sound when killed at any moment. Raises UsageError where `path`
    is unusable (it is then the only source) or where a name of `info` could leave the caches.
    """
    caches.check_names(info)
    request = _Request(info=info, offline=offline, deadline=Deadline(timeout), log=log)
    chain = CHAIN if path is None else (partial(_explicit, path),)
    attempts: list[Attempt] = []
    downloaded = False
    for source in chain:
        answer = source(request)
        attempts += answer.attempts
        downloaded |= answer.downloaded
        if answer.file is not None:
            break
    return Located(
        file=answer.file,
        label=answer.label,
        attempts=tuple(attempts),
        companions=_companions(info, answer.file.path.parent if path and answer.file else None),
        downloaded=downloaded,
    )


def _companions(info: ModelInfo, named: Path | None) -> dict[str, Path]:
    found = {name: caches.companion(name, info, named=named) for name in info.companions}
    return {name: path for name, path in found.items() if path is not None}


def check_explicit(path: Path, info: ModelInfo) -> Path:
    """The safetensors file that `--weights PATH` names: the file itself, or in its folder.

    Reads the header only. Raises UsageError where there is no such file or it cannot be one.
    """
    file = path
    cure = f"pass the model's {info.weights} or the folder that holds it"
    try:
        if path.is_dir():
            file = path / info.weights
        if not stat.S_ISREG(file.stat().st_mode):
            raise DamagedFileError("is no regular file")
        check_safetensors(file)
    except PickleError as error:
        raise UsageError(f"--weights {file} {error}, which could run code; {cure}") from error
    except DamagedFileError as error:
        raise UsageError(f"--weights {file} {error}; {cure}") from error
    except OSError as error:
        raise UsageError(f"--weights {file} cannot be read ({error.strerror}); {cure}") from error
    return file


def _explicit(path: Path, request: _Request) -> _Answer:
    """The path the user named, or nothing: a wrong one is an error, not a reason to look on."""
    started = time.monotonic()
    file = check_explicit(path, request.info)
    found = weight_file(file, file.name, request.info)
    label = f"file:{file.name}"
    attempt = _attempt("file", label, "found", f"sha256 {found.hash_origin}", started)
    return _Answer(attempts=(attempt,), file=found, label=label)


class _RefusedError(Exception):
    """A local file that may not be loaded; the message is the attempt's reason."""


def _local(source: Source, request: _Request) -> _Answer:
    """One kind of cache on this machine. Files that fail are left as they are."""
    if not caches.roots(source):
        return _Answer(attempts=())  # KIT_WEIGHTS_CACHE declares no roots
    attempts: list[Attempt] = []
    begun = time.monotonic()
    for path in caches.existing(source, request.info):
        started = time.monotonic()
        label = caches.label_of(source, path)
        try:
            file = _checked(source, path, request.info)
        except _RefusedError as error:
            attempts.append(_attempt(source, label, "refused", str(error), started))
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); pass --weights PATH"
            attempts.append(_attempt(source, label, "failed", reason, started))
        else:
            attempts.append(_attempt(source, label, "found", f"sha256 {file.hash_origin}", started))
            return _Answer(attempts=tuple(attempts), file=file, label=label)
    if not attempts:
        target = f"{caches.LABELS[source]}:{request.info.hub_id}"
        reason = f"no readable {request.info.weights} of this model in it"
        attempts.append(_attempt(source, target, "absent", reason, begun))
    return _Answer(attempts=tuple(attempts))


def _checked(source: str, path: Path, info: ModelInfo) -> WeightFile:
    """The file where it is sound and its hash the known one. Raises _RefusedError, OSError."""
    if caches.leads_outside(source, path):
        raise _RefusedError("a link leads out of the cache; pass its target as --weights PATH")
    try:
        check_safetensors(path)
    except DamagedFileError as error:
        raise _RefusedError(f"{error}; left as it is, delete it to free its disk space") from error
    published = info.published.get(info.weights)
    blob_name = path.resolve().name
    hub_sha256 = blob_name if source == "hf-cache" and is_sha256(blob_name) else None
    file = weight_file(
        path, info.weights, info, hub_sha256=hub_sha256, commit=caches.commit_of(path)
    )
    known = published or hub_sha256
    if known is not None and file.sha256 != known:
        whose = "published" if published else "hub's"
        raise _RefusedError(
            f"sha256 {file.sha256[:12]}... is not the {whose} {known[:12]}...; left as it is, "
            "pass it as --weights PATH if it is meant"
        )
    return file


def _hub(request: _Request) -> _Answer:
    """The hub that HF_ENDPOINT names, else huggingface.co."""
    # Only here: a local copy needs no network code.
    from kit.weights.hub import HubSession
    from kit.weights.transport import HubError, endpoint, file_url, offline_by_environment, shown

    started = time.monotonic()
    info = request.info
    target = file_url(shown(endpoint()), info.hub_id, info.revision, info.weights)
    refusal = "--offline" if request.offline else offline_by_environment()
    if refusal:
        reason = f"{refusal} is set; run once without it, or pass --weights PATH"
        return _Answer(attempts=(_attempt("hub", target, "skipped", reason, started),))
    session = HubSession(info.hub_id, deadline=request.deadline, log=request.log)
    try:
        file = _fetch_weights(session, info)
    except HubError as error:
        attempt = _attempt("hub", target, error.outcome, str(error), started)
        return _Answer(attempts=(attempt,), downloaded=session.received > 0)
    reason = f"{megabytes(session.received)} received, sha256 {file.hash_origin}"
    attempts = [_attempt("hub", target, "found", reason, started)]
    attempts += _fetch_companions(session, request)
    return _Answer(
        attempts=tuple(attempts),
        file=file,
        label=caches.label_of("hf-cache", file.path),
        downloaded=session.received > 0,
    )


def _fetch_weights(session: HubSession, info: ModelInfo) -> WeightFile:
    """The model's weights, through the hub. Raises HubError."""
    from kit.weights.transport import HubError

    published = info.published.get(info.weights)
    file = session.fetch(info.weights, revision=info.revision, sha256=published)
    try:
        check_safetensors(file.path)
    except DamagedFileError as error:
        raise HubError(f"the hub's file {error}; pass --weights PATH", outcome="refused") from error
    return file


def _fetch_companions(session: HubSession, request: _Request) -> list[Attempt]:
    """Fetch what is missing beside fresh weights, until the host stops answering. Never fatal."""
    from kit.weights.transport import HubError

    info = request.info
    session.shorten(COMPANION_SECONDS)
    attempts = []
    for name in info.companions:
        started = time.monotonic()
        if caches.companion(name, info) is not None:
            continue
        target = session.url(name, info.revision)
        try:
            session.fetch(name, revision=info.revision, sha256=info.published.get(name))
        except HubError as error:
            attempts.append(_attempt("hub", target, error.outcome, str(error), started))
            if not error.answered:
                break
        else:
            attempts.append(_attempt("hub", target, "found", "companion file", started))
    return attempts


def _attempt(source: Source, target: str, outcome: Outcome, reason: str, started: float) -> Attempt:
    """An attempt that began at `started` (time.monotonic) and ends now."""
    seconds = round(time.monotonic() - started, 3)
    return Attempt(source=source, target=target, outcome=outcome, reason=reason, seconds=seconds)


CHAIN: tuple[Callable[[_Request], _Answer], ...] = (
    partial(_local, "hf-cache"),
    partial(_local, "modelscope-cache"),
    partial(_local, "weights-cache"),
    _hub,
)
