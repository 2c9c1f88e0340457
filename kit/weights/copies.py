"""Plain copies in a folder that the user named: each is whole, or not there.

A copy on its way has a hidden name of the kit's own and a lock that ends with its process. So what a
killed process left is known by its lock being free, whatever became of its process id, and on
another host or in another container as well.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.errors import CannotRunError
from kit.storage.hashes import sha256_of
from kit.storage.whole import take
from kit.weights.weight_file import WeightFile

_TEMPORARY = re.compile(r"\.kit-fetch-[0-9a-f]{32}\.tmp")


def copy_into(folder: Path, file: WeightFile) -> Path:
    """A copy of `file` in `folder`, which gets its name only when its bytes are right and on the disk.

    Raises CannotRunError where it cannot be written.
    """
    path = folder / file.name
    try:
        if path.is_file() and sha256_of(path) == file.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(folder) as temporary:
            shutil.copyfile(file.path, temporary)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            if sha256_of(temporary) != file.sha256:
                raise CannotRunError(f"{path} was not written as it was read", "check the disk")
            temporary.replace(path)
    except OSError as error:
        raise CannotRunError(
            f"{path} cannot be written ({error.strerror})",
            f"free {file.bytes} bytes or choose another --to",
        ) from error
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove the copies that killed processes left half-made in `folder`, none that is in use.

    Never raises: a leftover that cannot be removed harms nobody.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with suppress(OSError), path.open("rb+") as file:
                    if take(file, wait=False):
                        path.unlink()


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new file in `folder`, in use until it is renamed or no longer needed. Raises OSError."""
    while True:
        path = folder / f".kit-fetch-{os.urandom(16).hex()}.tmp"
        with path.open("xb") as file:
            locked = take(file, wait=True)
            if not path.exists():
                continue  # taken for a leftover in the moment before it was locked
            if not locked:
                file.close()  # Windows renames no open file
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)
        return
