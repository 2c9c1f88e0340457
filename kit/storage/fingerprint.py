"""Fingerprints of named tensors: what both sides compare before any number is believed.

A fingerprint is the sha256 over one line a tensor, sorted by name: `name dtype shape sha256`, the last
being that of the tensor's elements in row-major order, little-endian. It does not depend on the file
that held them, so the same weights have it from any source.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from kit.documented import Documented, Sha256, says

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 16


# torch's names of safetensors' types.
TORCH_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
    "BOOL": "bool",
}


class SavedTensor(Documented, frozen=True, kw_only=True):
    """One tensor of a file."""

    shape: Annotated[list[Annotated[int, Meta(ge=0)]], says("Sizes, outermost first.")]
    dtype: Annotated[str, says("torch's name, such as float32.")]
    sha256: Annotated[Sha256, says("Of the elements in row-major order, little-endian.")]


def tensor_sha256(tensor: Tensor) -> str:
    """sha256 (hex) of a CPU tensor's elements in row-major order."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def describe_tensors(tensors: Mapping[str, Tensor]) -> dict[str, SavedTensor]:
    """Shape, dtype and sha256 of CPU tensors by name."""
    return {
        name: SavedTensor(
            shape=list(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            sha256=tensor_sha256(tensor),
        )
        for name, tensor in tensors.items()
    }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """The fingerprint (hex) of CPU tensors."""
    return _combine(
        tensors, {name: partial(tensor_sha256, tensor) for name, tensor in tensors.items()}
    )


def fingerprint_of_files(
    tensors: Mapping[str, Tensor], places: Mapping[str, tuple[Path, str]]
) -> str:
    """The fingerprint (hex) of `tensors`; those in `places` are memory-mapped from a safetensors file:
    (path, name in the file).

    Their bytes are read from the file: touching the mapping would make all of it resident, and a run
    need not hold more memory than a plain script does. Raises OSError.
    """
    with ExitStack() as stack:
        opened = {path: _opened(path, stack) for path in {path for path, _ in places.values()}}
        hashes = {name: partial(tensor_sha256, tensor) for name, tensor in tensors.items()}
        for name, (path, stored) in places.items():
            file, spans = opened[path]
            hashes[name] = partial(_span_sha256, file, *spans[stored])
        return _combine(tensors, hashes)


def _opened(path: Path, stack: ExitStack) -> tuple[int, dict[str, tuple[int, int]]]:
    """An open safetensors file, and where in it each tensor's bytes are."""
    file = stack.enter_context(path.open("rb"))
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    spans = {name: entry["data_offsets"] for name, entry in header.items()}
    return file.fileno(), {
        name: (8 + length + first, 8 + length + last) for name, (first, last) in spans.items()
    }


def _combine(tensors: Mapping[str, Tensor], hashes: Mapping[str, Callable[[], str]]) -> str:
    names = sorted(tensors)
    # hashlib releases the GIL: the tensors of a 300 MB model are hashed on all cores at once.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(lambda name: hashes[name](), names))
    lines = (
        f"{name} {str(tensors[name].dtype).removeprefix('torch.')} {list(tensors[name].shape)} {digest}"
        for name, digest in zip(names, digests, strict=True)
    )
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _span_sha256(file: int, first: int, last: int) -> str:
    """sha256 of the bytes [first, last) of an open file; safe from several threads at once."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, last - first)))
    while first < last and (count := os.preadv(file, [buffer[: last - first]], first)):
        digest.update(buffer[:count])
        first += count
    return digest.hexdigest()
