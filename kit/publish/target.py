"""Putting a repository in place: built beside it under a hidden name, then renamed; never half there.

SHA256SUMS, as sha256sum writes it, lists every file: with it anyone checks a copy, and the next export
knows that DIR is an earlier one that nobody has worked in.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.errors import CannotRunError, UsageError
from kit.publish.contents import FOLDERS, ROOT, is_generated
from kit.storage.hashes import sha256_of
from kit.storage.whole import take

SUMS = "SHA256SUMS"
_NEW, _OLD = "new", "old"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


def check_target(to: Path, *, zipped: bool) -> None:
    """Raise UsageError where `to` (or its archive) holds anything that an export did not write, or where
    it is this checkout or in a folder that an export reads."""
    here = to.resolve()
    read = (*FOLDERS, "kit", "models", "tests", "docs")
    if ROOT.is_relative_to(here) or any(here.is_relative_to(ROOT / part) for part in read):
        raise UsageError(f"--to {to} is part of this kit", "name a folder of its own")
    if os.path.lexists(to) and (to.is_symlink() or not to.is_dir()):
        raise UsageError(f"--to {to} is a file or a link", "name a new folder")
    if foreign := _foreign(to):
        raise UsageError(
            f"--to {to} has {foreign}, which no export wrote or which was changed since",
            "move it away, or name a new folder",
        )
    archive = _archive_of(to)
    if zipped and os.path.lexists(archive) and not _is_ours(archive):
        raise UsageError(f"{archive} is no earlier export", "move it away, or name another --to")


def put_in_place(files: Mapping[str, bytes], to: Path, *, archive: str | None) -> None:
    """Write `files` and their SHA256SUMS as the folder `to`; with `archive`, also as `to`.zip, below a
    folder of that name. Raises CannotRunError where they cannot be written."""
    files = {**files, SUMS: _sums(files)}
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _recover(to)
        with _beside(to) as work:
            _write(work / _NEW, files)
            if archive:
                (work / "zip").write_bytes(_zip(files, archive))
                (work / "zip").chmod(0o644)
            if to.exists():
                to.replace(work / _OLD)
            (work / _NEW).replace(to)
            if archive:
                (work / "zip").replace(_archive_of(to))
    except OSError as error:
        raise CannotRunError(
            f"--to {to} cannot be written ({error.strerror or error})",
            "free the disk, or choose another folder",
        ) from error


def _foreign(to: Path) -> str | None:
    """The first file of `to` that is not as an export wrote it; None where there is no such."""
    listed = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in (to / SUMS).read_text("utf-8").splitlines():
            digest, _, name = line.partition("  ")
            listed[name] = digest
    for path in sorted(to.rglob("*")):
        inside = path.relative_to(to)
        name = inside.as_posix()
        if is_generated(inside) or name in ("logs/.lock", SUMS if listed else ""):
            continue
        if path.is_symlink() or (path.is_file() and listed.get(name) != sha256_of(path)):
            return name
    return None


def _is_ours(archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as file:
            return file.namelist()[0].partition("/")[2] == SUMS
    except (OSError, zipfile.BadZipFile, IndexError):
        return False


def _archive_of(to: Path) -> Path:
    return to.with_name(f"{to.name}.zip")


def _sums(files: Mapping[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode("utf-8")


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _zip(files: Mapping[str, bytes], folder: str) -> bytes:
    """An archive whose bytes follow from `files` alone: stored, since compressors differ by version."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in (SUMS, *sorted(files.keys() - {SUMS})):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _EPOCH)
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


@contextmanager
def _beside(to: Path) -> Iterator[Path]:
    """A hidden folder beside `to`, held by a lock that ends with this process."""
    work = Path(tempfile.mkdtemp(prefix=_prefix(to), dir=to.parent))
    held = _hold(work)
    try:
        yield work
    finally:
        _clear(work, to)
        if held is not None:
            os.close(held)


def _recover(to: Path) -> None:
    """End what a killed export began: give an earlier folder its name back, remove the rest."""
    for work in to.parent.glob(f"{_prefix(to)}*"):
        if (held := _hold(work)) is not None:
            _clear(work, to)
            os.close(held)


def _clear(work: Path, to: Path) -> None:
    if (work / _OLD).exists() and not to.exists():
        (work / _OLD).replace(to)
    shutil.rmtree(work, ignore_errors=True)


def _prefix(to: Path) -> str:
    return f".{to.name}.export-"


def _hold(folder: Path) -> int | None:
    """A descriptor that locks `folder` until it is closed; None where another process holds it, or the
    system knows no such lock (Windows): a leftover stays there."""
    with suppress(OSError):
        held = os.open(folder, os.O_RDONLY)
        if take(held, wait=False):
            return held
        os.close(held)
    return None
