"""What torch can compute with, and what needs no rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_MOST_DIMENSIONS = 63  # of numpy's 64; a complex tensor is looked at with one more


def is_exact(tensor: Tensor) -> bool:
    """Whether the dtype (integers, bool) has no rounding to allow for."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def why_unreadable(tensor: Tensor) -> str | None:
    """Why torch cannot compute with a dtype; None where it can."""
    import torch

    if tensor.dim() > _MOST_DIMENSIONS:
        return f"numpy has no arrays of {tensor.dim()} dimensions"
    try:
        first = tensor.flatten()[:1]
        first.to(torch.complex128 if tensor.is_complex() else torch.float64)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return f"torch cannot compare {tensor.dtype} ({str(error).splitlines()[0][:100]})"
    return None
