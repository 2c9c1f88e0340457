"""Which bytes are these, and who vouches for them. Nothing here ever unpickles."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.errors import UntrustedError
from kit.storage.hashes import FileState, git_sha1_of, is_git_sha1, sha256_of, state_of
from kit.weights.wanted import ModelFiles

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
    """A file that may be loaded. `sha256` is of the bytes read now, while the file was in `state`;
    `hash_origin` says who else vouches for it; `revision` is the commit it is known to belong to."""

    name: str
    path: Path
    bytes: int
    sha256: str
    hash_origin: HashOrigin
    revision: str | None
    state: FileState

    def check_unchanged(self) -> None:
        """Raise UntrustedError where the file may not hold the bytes any more that were hashed: those
        that were loaded since, or are read while the model runs, may then be others."""
        try:
            unchanged = state_of(self.path) == self.state
        except OSError:
            unchanged = False
        if not unchanged:
            raise UntrustedError(
                f"{self.name} was changed or exchanged after it was hashed: nobody knows which "
                "weights were used; leave it alone and run again"
            )


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
    state = state_of(path)  # before a byte is read
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
        state=state,
    )


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
