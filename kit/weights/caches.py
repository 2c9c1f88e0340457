"""Where weights may lie on this machine: the layouts of the Hugging Face and ModelScope caches.

Looking needs no network and no library. Writing follows huggingface_hub's layout, so that it finds
what the kit downloaded. Names from models and records never lead out of a cache's root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kit.errors import UntrustedError, UsageError
from kit.storage.hashes import is_git_sha1, is_sha256, sha256_of
from kit.storage.whole import written_whole
from kit.weights.model_files import ModelFiles
from kit.weights.roots import hf_root, roots
from kit.weights.sharded import index_of
from kit.words import Reason

# The sources on this machine, in the order of the chain, and the first word of their labels.
LABELS = {
    "hf-cache": "hf-cache",
    "modelscope-cache": "modelscope",
    "weights-cache": "weights-cache",
}

_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_HUB_ID = re.compile(rf"{_WORD}(/{_WORD})?")
_PATH = re.compile(rf"{_WORD}(/{_WORD})*")


def check_names(info: ModelFiles) -> None:
    """Raise UsageError unless the model's names are names, which cannot leave a cache's folder."""
    hub_id = info.hub_id
    if not _HUB_ID.fullmatch(hub_id) or ".." in hub_id or "--" in hub_id:
        raise UsageError(Reason("no_repository_name", name=repr(hub_id)), Reason("name_like"))
    if not info.weights.endswith(".safetensors"):
        raise UsageError(
            Reason("no_safetensors_name", name=repr(info.weights), repository=hub_id),
            Reason("correct_the_declaration"),
        )
    for name in (info.revision, info.weights, *info.companions):
        if not _PATH.fullmatch(name) or ".." in name:
            raise UsageError(
                Reason("no_plain_name", name=repr(name), repository=hub_id),
                Reason("correct_adapter"),
            )


def is_commit(text: str) -> bool:
    """Whether `text` is a full commit hash, the only revision that can never move."""
    return is_git_sha1(text)


def folders(source: str, info: ModelFiles, *, of_others: bool = False) -> Iterator[Path]:
    """The folders of `source` that may hold the model's files, the likeliest first.

    `of_others`: also those of models of the same name by another owner, as ModelScope has copies of many.
    Only for a file whose hash is known.
    """
    for root in roots(source):
        if source == "hf-cache":
            yield from HubRepository(root, info.hub_id).snapshots(info)
            continue
        bases = _modelscope_bases(root) if source == "modelscope-cache" else (root,)
        owners = list(_owners(bases, info)) if of_others else [_owner_and_name(info)[0]]
        for owner in owners:
            if source == "modelscope-cache":
                yield from _modelscope_snapshots(root, info, owner)
            for base in bases:
                yield from _flat(base, info, owner)


def candidates(source: str, info: ModelFiles) -> Iterator[Path]:
    """The paths in `source` at which the model's weights may lie; most will not exist."""
    known = info.published.get(info.weights)
    for folder in folders(source, info, of_others=known is not None):
        yield folder / info.weights
        yield folder / index_of(info.weights)
    if source == "hf-cache" and known is not None:
        # The bytes themselves, where a damaged file holds the place of their name.
        yield from HubRepository(hf_root(), info.hub_id).blobs(known)


def copies(path: Path) -> tuple[Path, ...]:
    """A file of a cache, and the good copy that a download puts beside a damaged blob."""
    real = path.resolve()
    return path, real.with_name(f"{real.name}.verified")


def existing(source: str, info: ModelFiles) -> Iterator[Path]:
    """The candidates that are files; a folder this user may not enter holds none."""
    for path in candidates(source, info):
        with suppress(OSError):
            if path.is_file():
                yield path


def companion(name: str, info: ModelFiles, *, named: Sequence[Path | None] = ()) -> Path | None:
    """A companion file in the first of the folders that the user named, whatever its hash: its reader
    proves it; else in a cache, with the right hash if one is published."""
    for folder in named:
        if folder is not None and (folder / name).is_file():
            return folder / name
    known = info.published.get(name)
    places = [
        folder for source in LABELS for folder in folders(source, info, of_others=known is not None)
    ]
    for path in (place / name for place in places):
        with suppress(OSError):  # an unreadable copy is as good as none
            if path.is_file() and known in (None, sha256_of(path)):
                return path
    return None


def label_of(source: str, path: Path) -> str:
    """The path as records name it: the source and the path below its root."""
    root = next(root for root in roots(source) if path.is_relative_to(root))
    return f"{LABELS[source]}:{path.relative_to(root).as_posix()}"


def commit_of(path: Path) -> str | None:
    """The commit in whose snapshot a file of the Hugging Face cache lies."""
    return next((part for part in reversed(path.parts) if is_commit(part)), None)


def known_hash(source: str, path: Path, name: str, info: ModelFiles) -> str | None:
    """The hash that the model's file `name` at `path` must have: the published one, else the hub's own
    (sha256, of small files git's sha1), by which the Hugging Face cache names its blobs."""
    blob = path.resolve().name
    named = source == "hf-cache" and (is_sha256(blob) or is_git_sha1(blob))
    return info.published.get(name) or (blob if named else None)


def leads_outside(source: str, path: Path) -> bool:
    """Whether a link takes `path` out of every root of its source."""
    real = path.resolve()
    return not any(real.is_relative_to(root.resolve()) for root in roots(source))


def modelscope_bytes(info: ModelFiles) -> int:
    """How many bytes of the model are in ModelScope's cache, those of unfinished files included."""
    [root] = roots("modelscope-cache")
    owner, _ = _owner_and_name(info)
    places = [_modelscope_repository(root, info, owner)]
    for base in _modelscope_bases(root):
        places += [*_flat(base, info, owner), *_flat(base / "._____temp", info, owner)]
    return sum(_bytes_below(folder) for folder in places)


def resolve(label: str, info: ModelFiles, *, hint: Path | None = None) -> Path | None:
    """Find again the weights that a record names by `label`; None where they are not here.

    The label is only compared with the paths at which this model's weights may lie, never joined
    to a root: no record can point elsewhere. For 'file:NAME' the only place is `hint`, a path (or
    its folder) that the user of this machine named. Raises UntrustedError for a malformed label.
    """
    kind, _, rest = label.partition(":")
    parts = rest.split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\x00-\x1f]", rest):
        raise UntrustedError(Reason("label_malformed", label=repr(label)), Reason("run_it_again"))
    if kind == "file" and len(parts) == 1:
        path = hint / rest if hint is not None and hint.is_dir() else hint
        return path if path is not None and path.name == rest and path.is_file() else None
    source = next((source for source, word in LABELS.items() if word == kind), None)
    if source is None:
        raise UntrustedError(
            Reason("label_of_no_source", label=repr(label)), Reason("run_it_again")
        )
    paths = (path for path in existing(source, info) if label_of(source, path) == label)
    # Where the hash is known, the bytes are what counts, and whoever asks compares them.
    fit = (
        path
        for path in paths
        if known_hash(source, path, info.weights, info) or not leads_outside(source, path)
    )
    return next(fit, None)


def _owner_and_name(info: ModelFiles) -> tuple[str, str]:
    owner, _, name = info.hub_id.rpartition("/")
    return owner, name


def _owners(bases: Sequence[Path], info: ModelFiles) -> Iterator[str]:
    """The model's own owner, then every other one that has a folder in `bases`."""
    own, name = _owner_and_name(info)
    found = {own: None}
    for base in bases:
        for folder in _folder_names(base):
            owner, joined, named = folder.rpartition("--")
            if not joined or named == name:
                found[owner or folder] = None
    yield from found


def _flat(base: Path, info: ModelFiles, owner: str) -> Iterator[Path]:
    """base/owner/name, where ModelScope writes a dot in the name as three underscores."""
    _, name = _owner_and_name(info)
    for written in dict.fromkeys((name.replace(".", "___"), name)):
        yield base / owner / written


def _bytes_below(folder: Path) -> int:
    count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # renamed or removed since it was listed
                count += Path(parent, name).lstat().st_size
    return count


def _modelscope_bases(root: Path) -> tuple[Path, ...]:
    """Where the generations of ModelScope's SDK have kept their flat folders."""
    return (root / "models", root / "hub" / "models", root / "hub", root)


def _modelscope_repository(root: Path, info: ModelFiles, owner: str) -> Path:
    _, name = _owner_and_name(info)
    return root / "models" / (f"{owner}--{name}" if owner else name)


def _modelscope_snapshots(root: Path, info: ModelFiles, owner: str) -> Iterator[Path]:
    snapshots = _modelscope_repository(root, info, owner) / "snapshots"
    for name in dict.fromkeys(("master", "main", *_folder_names(snapshots))):
        yield snapshots / name


def _folder_names(folder: Path) -> list[str]:
    """Sorted names of the folders in `folder`, without hidden (unfinished) ones."""
    with suppress(OSError):
        return sorted(e.name for e in os.scandir(folder) if e.is_dir() and e.name[0] != ".")
    return []


@dataclass(frozen=True)
class HubRepository:
    """One model's folder in the Hugging Face cache: blobs/, snapshots/<commit>/ and refs/."""

    root: Path
    hub_id: str

    @property
    def folder(self) -> Path:
        """models--owner--name below the cache's root."""
        return self.root / ("models--" + self.hub_id.replace("/", "--"))

    def snapshots(self, info: ModelFiles) -> Iterator[Path]:
        """The pinned snapshot, then every other one where a published hash proves the bytes."""
        below = self.folder / "snapshots"
        names = [info.revision, self.ref(info.revision)]
        if info.weights in info.published:
            names += [self.ref("main"), *_folder_names(below)]
        commits = [name for name in dict.fromkeys(names) if name is not None]
        yield from (below / name for name in commits)
        yield from (self.converted(name) for name in commits)

    def converted(self, commit: str) -> Path:
        """Where the kit keeps what it made of a commit's pickle: beside the hub's own files, for it is none
        of them."""
        return self.folder / "converted-by-kit" / commit

    def ref(self, revision: str) -> str | None:
        """The commit that refs/<revision> names."""
        with suppress(OSError, UnicodeDecodeError):
            commit = (self.folder / "refs" / revision).read_text(encoding="ascii").strip()
            return commit if is_commit(commit) else None
        return None

    def set_ref(self, revision: str, commit: str) -> None:
        """Let refs/<revision> name the commit; a commit names itself. Raises OSError."""
        if revision != commit:
            _write(self.folder / "refs" / revision, commit)

    def lacks(self, commit: str, name: str) -> bool:
        """Whether the repository is known to have no such file at the commit."""
        return (self.folder / ".no_exist" / commit / name).is_file()

    def note_lack(self, commit: str, name: str) -> None:
        """Keep in mind, as the library does, that there is no such file. Raises OSError."""
        _write(self.folder / ".no_exist" / commit / name, "")

    def blobs(self, etag: str) -> tuple[Path, Path]:
        """Where the bytes lie: under the library's name or, that being damaged, the kit's."""
        blob = self.folder / "blobs" / etag
        return blob, blob.with_name(f"{etag}.verified")

    def part(self, etag: str) -> Path:
        """The kit's own partial download of these bytes, beside the finished ones."""
        return self.folder / "blobs" / f"{etag}.kit.part"

    def lock(self, etag: str) -> Path:
        """The library's own lock file, so that the kit and the library exclude each other."""
        return self.root / ".locks" / self.folder.name / f"{etag}.lock"

    def place(self, blob: Path, *, commit: str, revision: str, name: str) -> Path:
        """Give finished bytes their name in the snapshot; the path at which they are found.

        What is already there is never touched: where other bytes hold the name, the blob's own
        path is the answer. Raises OSError.
        """
        pointer = self.folder / "snapshots" / commit / name
        if not os.path.lexists(pointer):
            _point(pointer, blob)
        self.set_ref(revision, commit)
        return pointer if pointer.exists() and pointer.samefile(blob) else blob


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def _point(pointer: Path, blob: Path) -> None:
    """A relative link as the library makes it; where links are impossible, the same bytes."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f".{pointer.name}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows without the privilege, exFAT, some network disks
        try:
            temporary.hardlink_to(blob)
        except OSError:
            import shutil

            shutil.copyfile(blob, temporary)
    temporary.replace(pointer)
