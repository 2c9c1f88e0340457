"""Which bytes are these, and who vouches for them. Nothing here ever unpickles."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kit.documented import Documented, Sha256, says
from kit.errors import Fault, UntrustedError
from kit.storage.file_kinds import kind_of
from kit.storage.hashes import FileState, git_sha1_of, is_git_sha1, sha256_of, state_of
from kit.weights.model_files import ModelFiles
from kit.words import Reason

# The limit of the safetensors library itself: a longer header is an attack or an accident.
HEADER_LIMIT_BYTES = 100_000_000

# Bits per element. A type that is not here (newer than this table) only escapes the size check.
_DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 8),
}


class DamagedFileError(Fault, ValueError):
    """The file is no sound safetensors file; `what` says what is wrong, without the path. `cure`: what
    to do about a file of that kind; None where only another copy helps."""


class PickleError(DamagedFileError):
    """The file is a pickle (or a zip of pickles): loading it could run code, so it stays closed."""


HashOrigin = Literal["published", "hub", "computed"]


class ConvertedFrom(Documented, frozen=True, kw_only=True):
    """The pickle that a safetensors file was made of by `python -m kit fetch MODEL --from-pickle`."""

    name: Annotated[str, says("The pickle's file name.", pattern="^[^/\\\\]+$")]
    sha256: Annotated[
        Sha256, says("Of the pickle, compared with the hub's own before it was read.")
    ]


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file that may be loaded. `sha256` is of the bytes read now, while the file was in `state`;
    `hash_origin` says who else vouches for it; `revision` is the commit it is known to belong to. `shards`
    are the files that hold the tensors where this one is their index, else none. `converted_from` is what
    the file says of its origin."""

    name: str
    path: Path
    bytes: int
    sha256: str
    hash_origin: HashOrigin
    revision: str | None
    state: FileState
    shards: tuple[WeightFile, ...] = ()
    converted_from: ConvertedFrom | None = None

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """This file and its shards."""
        return (self, *self.shards)

    @property
    def paths(self) -> list[Path]:
        """The safetensors files."""
        return [file.path for file in self.shards or (self,)]

    def check_unchanged(self) -> None:
        """Raise UntrustedError where the file may not hold the bytes any more that were hashed: those
        that were loaded since, or are read while the model runs, may then be others."""
        try:
            unchanged = state_of(self.path) == self.state
        except OSError:
            unchanged = False
        if not unchanged:
            raise UntrustedError(
                Reason("exchanged", name=self.name),
                Reason("leave_alone"),
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
        origin, revision = "published", info.revision or None
    elif etag == digest or (etag and is_git_sha1(etag) and git_sha1_of(path) == etag):
        origin, revision = "hub", commit
    return WeightFile(
        name=name,
        path=path,
        bytes=path.stat().st_size,
        sha256=digest,
        hash_origin=origin,
        revision=revision,
        converted_from=converted_from(path) if origin == "computed" else None,
        state=state,
    )


def converted_from(path: Path) -> ConvertedFrom | None:
    """The pickle that a safetensors file says it was made of; None for any other file. Raises OSError."""
    try:
        said = json.loads(_header(path))["__metadata__"]["converted_from"]
        return msgspec.json.decode(said, type=ConvertedFrom)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def check_safetensors(path: Path) -> frozenset[str]:
    """The names of the tensors. Raises DamagedFileError, which says what the file is, unless the header
    is sound and the tensors fill the file exactly.

    The bytes decide, never the name. Raises PickleError for a pickle; OSError.
    """
    size, header = path.stat().st_size, _header(path)
    if not header.startswith(b"{"):
        kind = kind_of(path)
        told = kind.words if kind.code != "unknown" else Reason("kind_none")
        is_pickle = kind.code == "pickle"
        refused = PickleError if is_pickle else DamagedFileError
        cure = Reason("write_safetensors") if is_pickle else kind.cure
        raise refused(Reason("is_kind", kind=told, bytes=size), cure)
    names, data = _tensors(header)
    if (whole := 8 + len(header) + data) != size:
        raise DamagedFileError(Reason("other_size", size=size, whole=whole))
    return names


def _header(path: Path) -> bytes:
    """The header of a safetensors file; empty where the file has none. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(length) if 2 <= length <= min(size - 8, HEADER_LIMIT_BYTES) else b""


def _tensors(header: bytes) -> tuple[frozenset[str], int]:
    """The tensors' names, and the bytes after the header that they fill. Raises DamagedFileError on a
    gap."""
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in tensors.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedFileError(Reason("damaged_header", said=str(error))) from error
    end = 0
    for first, last in spans:
        if first != end:
            raise DamagedFileError(Reason("damaged_extents"))
        end = last
    return frozenset(tensors), end


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    """(first, last) of the tensor's bytes. Raises ValueError, TypeError or KeyError."""
    first, last = tensor["data_offsets"]
    if not (type(first) is type(last) is int and 0 <= first <= last):
        raise ValueError("offsets are no byte range")
    bits = _DTYPE_BITS.get(tensor["dtype"])
    if bits is not None and math.prod(tensor["shape"]) * bits != (last - first) * 8:
        raise ValueError("a tensor's shape and bytes disagree")
    return first, last
