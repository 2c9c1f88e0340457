"""Which bytes are these, and who vouches for them. Nothing here ever unpickles."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.weights.wanted import ModelFiles

_CHUNK_BYTES = 1 << 16

# The limit of the safetensors library itself: a longer header is an attack or an accident.
HEADER_LIMIT_BYTES = 100_000_000

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".msc", ".mdl", ".pkl", ".pickle"})

# Bits per element. A type that is not here (newer than this table) only escapes the size check.
_DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 8),
}


class DamagedFileError(ValueError):
    """The file is no sound safetensors file; the message says what is wrong, without the path."""


class PickleError(DamagedFileError):
    """The file is a pickle (or a zip of pickles): loading it could run code, so it stays closed."""


HashOrigin = Literal["published", "hub", "computed"]


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file that may be loaded. `sha256` is of the bytes read now; `hash_origin` says who else
    vouches for it; `revision` is the commit it is known to belong to."""

    name: str
    path: Path
    bytes: int
    sha256: str
    hash_origin: HashOrigin
    revision: str | None


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


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex. Raises OSError. Memory stays flat, and other threads run on."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        _absorb(digest, file)
    return digest.hexdigest()


def weight_file(
    path: Path,
    name: str,
    info: ModelFiles,
    *,
    etag: str | None = None,
    commit: str | None = None,
) -> WeightFile:
    """Hash the file and say who vouches for it: the adapter's published hashes, else the hub.

    `etag` and `commit` are what the Hugging Face cache says of it. Raises OSError.
    """
    digest = sha256_of(path)
    origin: HashOrigin = "computed"
    revision = None
    if digest in info.published.values():
        origin, revision = "published", info.revision
    elif etag == digest or (etag and is_git_sha1(etag) and git_sha1_of(path) == etag):
        origin, revision = "hub", commit
    return WeightFile(
        name=name,
        path=path,
        bytes=path.stat().st_size,
        sha256=digest,
        hash_origin=origin,
        revision=revision,
    )


def _absorb(digest: hashlib._Hash, file: Any) -> None:
    """Feed the rest of an unbuffered file to `digest`, through one reused buffer."""
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    while count := file.readinto(buffer):
        digest.update(buffer[:count])


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


def check_safetensors(path: Path) -> None:
    """Raise DamagedFileError unless the header is sound and the tensors fill the file exactly.

    Raises PickleError for a pickle, by its suffix before a byte is read, else by its first bytes;
    raises OSError where the file cannot be read.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise PickleError(f"is a pickle by its name ({path.suffix})")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        header = file.read(length) if 2 <= length <= min(size - 8, HEADER_LIMIT_BYTES) else b""
    if not header.startswith(b"{"):
        # Only now: a sound file may begin like a pickle (a header of 640 bytes gives 80 02).
        if _starts_like_pickle(start):
            raise PickleError("is a pickle by its first bytes")
        raise DamagedFileError(f"is no safetensors file, or its start is lost ({size} bytes)")
    expected = 8 + length + _data_bytes(header)
    if expected != size:
        raise DamagedFileError(f"is {size} bytes long, not {expected} as its header says")


def _starts_like_pickle(start: bytes) -> bool:
    return start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def _data_bytes(header: bytes) -> int:
    """The bytes after the header that its tensors fill. Raises DamagedFileError on a gap."""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in tensors.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"has a damaged safetensors header ({error})") from error
    end = 0
    for first, last in spans:
        if first != end:
            raise DamagedFileError("has a damaged safetensors header (overlaps or gaps)")
        end = last
    return end


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    """(first, last) of the tensor's bytes. Raises ValueError, TypeError or KeyError."""
    first, last = tensor["data_offsets"]
    if not (type(first) is type(last) is int and 0 <= first <= last):
        raise ValueError("offsets are no byte range")
    bits = _DTYPE_BITS.get(tensor["dtype"])
    if bits is not None and math.prod(tensor["shape"]) * bits != (last - first) * 8:
        raise ValueError("a tensor's shape and bytes disagree")
    return first, last
