"""Tensors that go to the disk as they come, equal ones once, and end in one safetensors file.

Such a file begins with the names and places of all of its tensors, which are known last: the bytes wait in
a scratch file meanwhile. So memory holds one tensor at a time, however many there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kit.storage.fingerprint import TORCH_NAMES

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 20
_LATER = ("F8_E4M3", "F8_E5M2", "C64")
# safetensors' names of what it has held from the beginning.
_DTYPES = {dtype: name for name, dtype in TORCH_NAMES.items() if name not in _LATER}


@dataclass(frozen=True)
class _Entry:
    """One tensor in the scratch file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    itemsize: int
    first: int
    last: int


class TensorStream:
    """Writes up to `most` bytes of tensors into `scratch`, an empty file."""

    def __init__(self, scratch: IO[bytes], most: int) -> None:
        self._scratch, self._most = scratch, most
        self._size = 0
        self._entries: dict[tuple[str, tuple[int, ...], bytes], _Entry] = {}

    def add(self, tensors: Sequence[Tensor]) -> list[str] | None:
        """What CPU tensors will be called in the file; None, and none of them kept, where they would not
        fit. Raises OSError; ValueError for a tensor that such a file cannot hold."""
        contents = [(_kind_of(tensor), _bytes_of(tensor)) for tensor in tensors]
        keys = [(*kind, hashlib.sha256(content).digest()) for kind, content in contents]
        new = {
            key: (content, tensor)
            for key, (_, content), tensor in zip(keys, contents, tensors, strict=True)
            if key not in self._entries
        }
        if self._size + sum(len(content) for content, _ in new.values()) > self._most:
            return None
        for key, (content, tensor) in new.items():
            first, self._size = self._size, self._size + len(content)
            self._scratch.write(content)
            name = str(len(self._entries))
            places = first, self._size
            self._entries[key] = _Entry(name, key[0], key[1], tensor.element_size(), *places)
        return [self._entries[key].name for key in keys]

    def write(self, target: Path, metadata: Mapping[str, str]) -> str:
        """Write the file; its sha256 in hex. Raises OSError."""
        # Without gaps, and each at a multiple of its elements' size.
        entries = sorted(self._entries.values(), key=lambda entry: -entry.itemsize)
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for chunk in chain([_header(entries, metadata)], self._contents(entries)):
                file.write(chunk)
                digest.update(chunk)
        return digest.hexdigest()

    def _contents(self, entries: Sequence[_Entry]) -> Iterator[bytes]:
        for entry in entries:
            self._scratch.seek(entry.first)
            left = entry.last - entry.first
            while left:
                chunk = self._scratch.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise OSError("the scratch file was cut short")
                left -= len(chunk)
                yield chunk


def _kind_of(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """safetensors' name of its dtype, and its shape."""
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or dtype not in _DTYPES:
        raise ValueError(f"a tensor of {dtype}, {tensor.layout}, cannot be written")
    return _DTYPES[dtype], tuple(tensor.shape)


def _bytes_of(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _header(entries: Sequence[_Entry], metadata: Mapping[str, str]) -> bytes:
    """The length of what follows, and it: JSON, filled up with spaces to a multiple of 8."""
    described: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for entry in entries:
        start, end = end, end + entry.last - entry.first
        described[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(described, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
