"""Weights that are on this machine: at the path the user named, or in a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kit.errors import Fault, UsageError, shown, words_of
from kit.storage.file_kinds import WEIGHT_SUFFIXES, FileKind, kind_of
from kit.storage.names import check_regular, fits_a_record, is_text
from kit.weights import caches
from kit.weights.model_files import ModelFiles
from kit.weights.request import Answer, Attempt, Request, Source, attempt
from kit.weights.roots import roots
from kit.weights.sharded import (
    ShardIndex,
    check_folder,
    check_shard,
    index_of,
    is_index,
    read_index,
)
from kit.weights.weight_file import (
    DamagedFileError,
    PickleError,
    WeightFile,
    check_safetensors,
    weight_file,
)
from kit.words import Reason

Read = TypeVar("Read")


def check_explicit(path: Path, info: ModelFiles) -> Path:
    """The file that `--weights PATH` names: a safetensors file or the index of several, itself or in its
    folder.

    Reads headers only. Raises UsageError where there is no such file or it, or a shard, cannot be one.
    """
    file = path
    cure = Reason("pass_models", file=info.weights)
    try:
        if path.is_dir():
            file = _in_folder(path, info)
        check_regular(file)
        if not fits_a_record(file.name):
            raise DamagedFileError(Reason("unrecordable_name"), Reason("rename_or_link"))
        if not is_text(file):
            raise DamagedFileError(Reason("folder_no_text"))
        if is_index(file):
            check_folder(file)
        else:
            check_safetensors(file)
    except PickleError as error:
        what = Reason("runs_code", what=error.reason)
        make = Reason("or_make_one", cure=cure, make=error.cure or "")
        raise UsageError(_of_weights(file, what), make) from error
    except DamagedFileError as error:
        raise UsageError(_of_weights(file, error.reason), error.cure or cure) from error
    except OSError as error:
        kinds = _beside(file) if file != path else {}
        sound = [name for name, kind in kinds.items() if kind.code == "safetensors"]
        if len(sound) == 1:
            cure = Reason("pass_beside", file=sound[0])
        raise UsageError(_of_weights(file, _unread(words_of(error), kinds)), cure) from error
    return file


def _in_folder(folder: Path, info: ModelFiles) -> Path:
    """The weights in a folder, else the index that stands for them."""
    index = folder / index_of(info.weights)
    return (
        index
        if index.is_file() and not (folder / info.weights).is_file()
        else folder / info.weights
    )


def _of_weights(file: Path, what: Reason) -> Reason:
    return Reason("of_option", option=f"--weights {shown(file)}", what=what)


def _beside(file: Path) -> dict[str, FileKind]:
    """What lies beside a file and could be weights: each by what it is."""
    kinds: dict[str, FileKind] = {}
    with suppress(OSError):
        for path in sorted(file.parent.iterdir()):
            if path.is_file() and path.suffix in WEIGHT_SUFFIXES:
                kinds[path.name] = kind_of(path)
    return kinds


def _unread(said: str, kinds: Mapping[str, FileKind]) -> Reason:
    """That the file cannot be read, and what lies beside it."""
    found = [Reason("beside", name=name, kind=kind.sound_words) for name, kind in kinds.items()][:3]
    if not found:
        return Reason("unread", said=said)
    if any(kind.code == "pickle" for kind in kinds.values()):
        return Reason("unread_pickled", said=said, found=found, cure=Reason("write_safetensors"))
    return Reason("unread_beside", said=said, found=found)


def _size(path: Path) -> int:
    """Bytes of a safetensors file, or of all shards of an index. Raises DamagedFileError, OSError."""
    shards = [path.parent / name for name in read_index(path).shards] if is_index(path) else [path]
    return sum(shard.stat().st_size for shard in shards if shard.exists())


def hashed(path: Path, name: str, info: ModelFiles) -> WeightFile:
    """A checked file and its shards, each hashed. Raises DamagedFileError, OSError."""
    file = weight_file(path, name, info)
    if not is_index(path):
        return file
    shards = [weight_file(path.parent / each, each, info) for each in read_index(path).shards]
    return replace(file, shards=tuple(shards))


def explicit(path: Path, request: Request) -> Answer:
    """The path the user named, or nothing: a wrong one is an error, not a reason to look on."""
    started = time.monotonic()
    file = check_explicit(path, request.info)
    request.check_room(_size(file), file.name)
    found = hashed(file, file.name, request.info)
    label = f"file:{file.name}"
    tried = attempt("file", label, "found", _of_hash(found), started)
    return Answer(attempts=(tried,), file=found, label=label)


def _of_hash(file: WeightFile) -> Reason:
    if not file.shards:
        return Reason("sha256", origin=file.hash_origin)
    return Reason("sha256_shards", origin=file.hash_origin, shards=len(file.shards))


def no_weights_beside(info: ModelFiles, request: Request) -> Answer:
    """The answer for a model that came from a folder without weights."""
    label = f"file:{info.weights}"
    tried = attempt("file", label, "absent", Reason("config_only"), time.monotonic())
    return Answer(attempts=(tried,))


class _RefusedError(Fault):
    """A local file that may not be loaded."""


def local_copy(source: Source, request: Request) -> Answer:
    """One kind of cache on this machine. Files that fail are left as they are."""
    if not roots(source):
        return Answer(attempts=())  # KIT_WEIGHTS_CACHE declares no roots
    attempts: list[Attempt] = []
    begun = time.monotonic()
    for path in caches.existing(source, request.info):
        started = time.monotonic()
        label = caches.label_of(source, path)
        try:
            request.check_room(_damage_refused(partial(_size, path)), path.name)
            file = _checked(source, path, request.info)
        except _RefusedError as error:
            attempts.append(attempt(source, label, "refused", error, started))
        except OSError as error:
            unread = Fault(Reason("unread", said=words_of(error)), Reason("pass_weights"))
            attempts.append(attempt(source, label, "failed", unread, started))
        else:
            attempts.append(attempt(source, label, "found", _of_hash(file), started))
            return Answer(attempts=tuple(attempts), file=file, label=label)
    if not attempts:
        target = f"{caches.LABELS[source]}:{request.info.hub_id}"
        reason = Reason("none_in_it", name=request.info.weights)
        attempts.append(attempt(source, target, "absent", reason, begun))
    return Answer(attempts=tuple(attempts))


def _checked(source: str, path: Path, info: ModelFiles) -> WeightFile:
    """The file, with its shards, where each is sound and its hash the known one. Raises _RefusedError,
    OSError."""
    if not is_index(path):
        return _checked_file(source, path, path, info, lambda: check_safetensors(path))
    index = _damage_refused(lambda: read_index(path))
    file = _checked_file(source, path, path, info, lambda: None)
    shards = [_checked_shard(source, path.parent / name, info, index) for name in index.shards]
    return replace(file, shards=tuple(shards))


def _checked_shard(source: str, place: Path, info: ModelFiles, index: ShardIndex) -> WeightFile:
    """The shard, or the good copy beside a damaged one. Raises _RefusedError, OSError."""
    refused = Fault(Reason("shard_absent", name=place.name), Reason("fetch_model"))
    for copy in caches.copies(place):
        if copy.is_file():
            check = partial(check_shard, copy, index, place.name)
            try:
                return _checked_file(source, copy, place, info, check)
            except _RefusedError as error:
                why = Reason("shard_refused", name=place.name, why=error.reason)
                refused = Fault(why, error.cure)
    raise _RefusedError(refused.what, refused.cure)


def _damage_refused(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except DamagedFileError as error:
        raise _RefusedError(
            Reason("damaged", why=error.reason), Reason("delete_to_free")
        ) from error


def _checked_file(
    source: str, path: Path, place: Path, info: ModelFiles, check: Callable[[], object]
) -> WeightFile:
    """One file where it is sound and its hash the known one; `place` is where its name is, whose blob the
    hub named by its own hash. Raises _RefusedError, OSError."""
    name = _name_of(place, info)
    published = info.published.get(name)
    known = caches.known_hash(source, place, name, info)
    # Where the hash is known, only the bytes count.
    if known is None and caches.leads_outside(source, path):
        raise _RefusedError(Reason("leads_out"), Reason("pass_target"))
    if not is_text(path):
        raise _RefusedError(Reason("cache_no_text"), Reason("move_cache"))
    _damage_refused(check)
    etag = known if published is None else None
    file = weight_file(path, name, info, etag=etag, commit=caches.commit_of(place))
    # A small file of the hub is named by git's hash of it, which weight_file() compares.
    agrees = file.sha256 == known if published else file.hash_origin != "computed"
    if known is not None and not agrees:
        code = "not_published" if published else "not_of_hub"
        raise _RefusedError(
            Reason(code, sha256=file.sha256[:12], known=known[:12]),
            Reason("pass_if_meant"),
        )
    return file


def _name_of(place: Path, info: ModelFiles) -> str:
    """A candidate of a cache may be a blob, whose name is a hash."""
    return place.name if place.suffix in (".safetensors", ".json") else info.weights
