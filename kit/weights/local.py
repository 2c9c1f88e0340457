"""Weights that are on this machine: at the path the user named, or in a cache."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from kit.errors import UsageError, shown
from kit.storage.names import fits_a_record, is_text
from kit.weights import caches
from kit.weights.attempts import Answer, Attempt, Request, Source, attempt
from kit.weights.wanted import ModelFiles
from kit.weights.weight_file import (
    DamagedFileError,
    PickleError,
    WeightFile,
    check_safetensors,
    weight_file,
)

_NO_TEXT = "lies in a folder whose name is no UTF-8, which safetensors cannot open"


def check_explicit(path: Path, info: ModelFiles) -> Path:
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
        if not fits_a_record(file.name):
            raise DamagedFileError("has a name that no record can hold, rename or link it")
        if not is_text(file):
            raise DamagedFileError(_NO_TEXT)
        check_safetensors(file)
    except PickleError as error:
        raise UsageError(
            f"--weights {shown(file)} {error}, which could run code; {cure}"
        ) from error
    except DamagedFileError as error:
        raise UsageError(f"--weights {shown(file)} {error}; {cure}") from error
    except OSError as error:
        raise UsageError(
            f"--weights {shown(file)} cannot be read ({error.strerror}); {cure}"
        ) from error
    return file


def explicit(path: Path, request: Request) -> Answer:
    """The path the user named, or nothing: a wrong one is an error, not a reason to look on."""
    started = time.monotonic()
    file = check_explicit(path, request.info)
    found = weight_file(file, file.name, request.info)
    label = f"file:{file.name}"
    tried = attempt("file", label, "found", f"sha256 {found.hash_origin}", started)
    return Answer(attempts=(tried,), file=found, label=label)


class _RefusedError(Exception):
    """A local file that may not be loaded; the message is the attempt's reason."""


def local_copy(source: Source, request: Request) -> Answer:
    """One kind of cache on this machine. Files that fail are left as they are."""
    if not caches.roots(source):
        return Answer(attempts=())  # KIT_WEIGHTS_CACHE declares no roots
    attempts: list[Attempt] = []
    begun = time.monotonic()
    for path in caches.existing(source, request.info):
        started = time.monotonic()
        label = caches.label_of(source, path)
        try:
            file = _checked(source, path, request.info)
        except _RefusedError as error:
            attempts.append(attempt(source, label, "refused", str(error), started))
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); pass --weights PATH"
            attempts.append(attempt(source, label, "failed", reason, started))
        else:
            attempts.append(attempt(source, label, "found", f"sha256 {file.hash_origin}", started))
            return Answer(attempts=tuple(attempts), file=file, label=label)
    if not attempts:
        target = f"{caches.LABELS[source]}:{request.info.hub_id}"
        reason = f"no readable {request.info.weights} of this model in it"
        attempts.append(attempt(source, target, "absent", reason, begun))
    return Answer(attempts=tuple(attempts))


def _checked(source: str, path: Path, info: ModelFiles) -> WeightFile:
    """The file where it is sound and its hash the known one. Raises _RefusedError, OSError."""
    published = info.published.get(info.weights)
    known = caches.known_sha256(source, path, info)
    # Where the hash is known, only the bytes count.
    if known is None and caches.leads_outside(source, path):
        raise _RefusedError("a link leads out of the cache; pass its target as --weights PATH")
    if not is_text(path):
        raise _RefusedError(f"it {_NO_TEXT}; move the cache")
    try:
        check_safetensors(path)
    except DamagedFileError as error:
        raise _RefusedError(f"{error}; left as it is, delete it to free its disk space") from error
    # The hub's own hash is what a blob of its cache is named by.
    etag = known if published is None else None
    file = weight_file(path, info.weights, info, etag=etag, commit=caches.commit_of(path))
    if known is not None and file.sha256 != known:
        whose = "published" if published else "hub's"
        raise _RefusedError(
            f"sha256 {file.sha256[:12]}... is not the {whose} {known[:12]}...; left as it is, "
            "pass it as --weights PATH if it is meant"
        )
    return file
