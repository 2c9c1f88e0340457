"""Hashes of files, in one reading and in flat memory."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

_CHUNK_BYTES = 1 << 16


def is_sha256(text: str) -> bool:
    """Whether `text` is a sha256 in lower-case hex, as the hub writes the ETag of a large file."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def is_git_sha1(text: str) -> bool:
    """Whether `text` is a git object's name, as the hub writes the ETag of a small file."""
    return re.fullmatch(r"[0-9a-f]{40}", text) is not None


def git_sha1_of(path: Path) -> str:
    """The name that git gives the file's bytes, in hex. Raises OSError."""
    start = b"blob %d\0" % path.stat().st_size
    digest = hashlib.sha1(start, usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        _absorb(digest, file)
    return digest.hexdigest()


def sha256_of_bytes(content: bytes) -> str:
    """The sha256 in hex of bytes in memory."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex. Raises OSError. Memory stays flat, and other threads run on."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        _absorb(digest, file)
    return digest.hexdigest()


class FileState(NamedTuple):
    """Which bytes a path leads to, as far as the file system tells without reading them: another file
    in its place has another inode, and whoever writes into it, or renames it, moves its change time."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def state_of(path: Path) -> FileState:
    """The file's state now. Raises OSError."""
    found = path.stat()
    return FileState(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


class PartialFile:
    """A file that grows while its sha256 runs along: what a download has received so far.

    Opening hashes the bytes of an earlier run first, so that the sum always covers the whole file.
    Every method raises OSError (disk full, read-only).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Unbuffered: after a kill the file holds every byte that was counted, and a failed write
        # is reported where it happens, not when the file is closed.
        self._file = path.open("ab+", buffering=0)
        self._file.seek(0)
        self._digest = hashlib.sha256()
        _absorb(self._digest, self._file)
        self.size = self._file.tell()

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end; a full disk may have taken a first part of it."""
        rest = memoryview(data)
        while rest:
            count = self._file.write(rest) or 0
            self._digest.update(rest[:count])
            self.size += count
            rest = rest[count:]

    def restart(self) -> None:
        """Begin again at byte 0."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0

    def sha256(self) -> str:
        """The sha256 in hex of the bytes so far."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Return when the bytes are on the disk, so that no later name can cover lost ones."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; it stays on disk for the next run to resume."""
        self._file.close()


def _absorb(digest: hashlib._Hash, file: Any) -> None:
    """Feed the rest of an unbuffered file to `digest`, through one reused buffer."""
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    while count := file.readinto(buffer):
        digest.update(buffer[:count])
