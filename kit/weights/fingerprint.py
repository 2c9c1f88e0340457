"""Fingerprints of named tensors: what both sides compare before any number is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tensor_sha256(tensor: Tensor) -> str:
    """sha256 (hex) of a CPU tensor's elements in row-major order, little-endian as stored."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) over the lines `name dtype shape sha256` of all CPU tensors, sorted by name.

    It does not depend on the file that held them, so the same weights have it from any source.
    """
    names = sorted(tensors)
    # hashlib releases the GIL: the tensors of a 300 MB model are hashed on all cores at once.
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(lambda name: tensor_sha256(tensors[name]), names))
    lines = (
        f"{name} {str(tensors[name].dtype).removeprefix('torch.')} {list(tensors[name].shape)} {digest}\n"
        for name, digest in zip(names, hashes, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
