"""What a file is by its first bytes: names lie, and a wrong file must be called what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.errors import CannotRunError
from kit.words import Reason

Kind = Literal[
    "empty",
    "safetensors",
    "lfs-pointer",
    "pickle",
    "npy",
    "npz",
    "zip",
    "gguf",
    "onnx",
    "hdf5",
    "gzip",
    "html",
    "json",
    "unknown",
]

# Enough for a zip archive's first two or three names.
_HEAD_BYTES = 1024

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"version https://git-lfs", "lfs-pointer"),
    (b"\x93NUMPY", "npy"),
    (b"GGUF", "gguf"),
    (b"\x89HDF", "hdf5"),
    (b"\x1f\x8b", "gzip"),
    (b"\x80", "pickle"),
    (b"{", "json"),
    (b"<", "html"),
)
# The code of what to do about a file of that kind in the place of another.
_CURES: dict[Kind, str] = {
    "lfs-pointer": "pull_lfs",
    "html": "fetch_file_itself",
    "gzip": "unpack",
}
# How the files of weights are called that people publish.
WEIGHT_SUFFIXES = ".safetensors .bin .pt .pth .ckpt .gguf .onnx .h5 .msgpack .npz .pdparams".split()


@dataclass(frozen=True)
class FileKind:
    """`code` for programs, `words` for people: "is {words}". A safetensors file is called damaged: nobody
    asks this of a sound one."""

    code: Kind

    @property
    def words(self) -> Reason:
        """What the file is, with its article."""
        return Reason(f"kind_{self.code}")

    @property
    def sound_words(self) -> Reason:
        """The same of a file that nobody has looked at further."""
        return Reason("kind_sound" if self.code == "safetensors" else f"kind_{self.code}")

    @property
    def cure(self) -> Reason | None:
        """What to do about it in the place of another file; None where only another copy helps."""
        code = _CURES.get(self.code)
        return Reason(code) if code else None


def why_no_json(content: bytes, error: Exception) -> tuple[Reason, Reason]:
    """What to say of a file that is to hold JSON and does not, as `error` found, and the cure: "is ..."."""
    kind = kind_of_bytes(content)
    if kind.code in ("json", "unknown"):
        return Reason("is_damaged", said=str(error)), Reason("fetch_again")
    return Reason("is_of_kind", kind=kind.words), kind.cure or Reason("fetch_again")


def kind_of(path: Path) -> FileKind:
    """What the file is. Raises OSError."""
    with path.open("rb") as file:
        return kind_of_bytes(file.read(_HEAD_BYTES))


def kind_of_bytes(content: bytes) -> FileKind:
    """What a file is of that content, or that begins so."""
    head = content[:_HEAD_BYTES]
    if not head:
        return FileKind("empty")
    # First: a sound file may begin like a pickle (a header of 640 bytes gives 80 02).
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") >> 32 == 0:
        return FileKind("safetensors")
    if head.startswith(b"PK"):
        # torch.save: an archive whose first file is NAME/data.pkl (or, in TorchScript, NAME/code).
        torch = b"/data.pkl" in head or b".pkl" in head or b"/byteorder" in head
        return FileKind("pickle" if torch else "npz" if b".npy" in head else "zip")
    # A protobuf: field 1, the version of the format, and a second field of ModelProto.
    if (
        head[:1] == b"\x08"
        and len(head) > 2
        and head[1] < 64
        and head[2] in b"\x12\x1a\x22\x3a\x42"
    ):
        return FileKind("onnx")
    start = head.lstrip()
    return FileKind(next((kind for begins, kind in _STARTS if start.startswith(begins)), "unknown"))


def check_at_hand(path: Path) -> None:
    """Raise CannotRunError where the bytes of a file are not at hand: for a Git LFS pointer in its place,
    and where this user, or this machine now, may not read it. The file itself may be sound.

    Raises OSError where there is no file.
    """
    try:
        with path.open("rb") as file:
            kind = kind_of_bytes(file.read(_HEAD_BYTES))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise
    except OSError as error:
        what = Reason("not_at_hand", name=path.name, said=error.strerror or str(error))
        raise CannotRunError(what, Reason("check_permissions")) from error
    if kind.code == "lfs-pointer":
        what = Reason("is_of_kind", kind=kind.words)
        raise CannotRunError(Reason("of_file", file=path.name, what=what), kind.cure)
