"""Tensors of a checkpoint that the library no longer stores: are they what it builds itself?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# By the last part of the name: what models of every library have stored and compute today. Only names
# of this list are looked at by their values alone, without a buffer of the model to compare with.
_COUNTS = re.compile(r"position_ids$")
_MASKS = re.compile(r"(attn|attention)\.(masked_)?bias$")


def same_buffer(name: str, built: Collection[str]) -> str | None:
    """The buffer that a stored name is of: the same name, with or without a base model's prefix."""
    ends = (each for each in built if f".{each}".endswith(f".{name}") or name.endswith(f".{each}"))
    return next(ends, None)


def legacy_value(name: str, tensor: Tensor, built: Mapping[str, Tensor]) -> str | None:
    """What the values of a stored tensor are, in words, where the library builds the same ones; else None.

    `built` are the model's own buffers that no checkpoint holds. A buffer of the same name decides; else
    one of the same last part is as good, as where a table of each layer has become one of the model.
    """
    import torch

    same, last = same_buffer(name, built), name.rpartition(".")[2]
    near = [same] if same else [each for each in built if each.rpartition(".")[2] == last]
    if any(_equal(tensor, built[each]) for each in near):
        return "equal to the buffer that the library builds"
    if same:
        return None
    if _COUNTS.search(name) and _equal(tensor, torch.arange(tensor.numel())):
        return "0, 1, 2, ..., as the library counts positions itself"
    if _MASKS.search(name) and tensor.numel() == 1:
        return "the constant that masked scores once had"
    if _MASKS.search(name) and tensor.dim() > 1 and _equal(tensor, torch.ones_like(tensor).tril()):
        return "the causal mask, which the library builds itself"
    return None


def _equal(stored: Tensor, built: Tensor) -> bool:
    """Whether the values are those built, to the stored dtype's precision, leading ones aside."""
    import torch

    if stored.numel() != built.numel():
        return False
    ours = built.reshape(stored.shape).to(stored.dtype)
    if not stored.is_floating_point():
        return torch.equal(stored, ours)
    # Trigonometric tables are computed, and differ between versions and machines in the last bits.
    spare = 4 * torch.finfo(stored.dtype).eps
    return torch.allclose(stored.double(), ours.double(), rtol=spare, atol=0)
