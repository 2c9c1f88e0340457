"""Tensor methods for a PyTorch that lets no Python code provide a device guard (torch 2.9).

There `x[...]`, `x.contiguous()`, `~x` and `x.nonzero()` look for the guard before they reach the
dispatcher, and stop. So the last three are written as the operators that they come to, and an index
is applied to the data itself: indexing is then no operator for the SIM_NPU_ switches, and autograd
does not see it. Tried on torch 2.13 with its guard left out, not on 2.9.
"""

from __future__ import annotations

from typing import Any

import torch

from ._tensor import NpuTensor, allocate, share_memory


def bypass() -> None:
    """Replace the methods that ask for the guard."""
    NpuTensor.__getitem__ = _getitem  # type: ignore[assignment]
    NpuTensor.__setitem__ = _setitem  # type: ignore[assignment]
    NpuTensor.contiguous = _contiguous  # type: ignore[assignment,method-assign]
    NpuTensor.__invert__ = _invert  # type: ignore[assignment,method-assign]
    NpuTensor.nonzero = _nonzero  # type: ignore[assignment,method-assign]


def _getitem(self: NpuTensor, index: Any) -> NpuTensor:
    inner = self._inner[_on_cpu(index)]
    if inner.untyped_storage().data_ptr() == self._inner.untyped_storage().data_ptr():
        return share_memory(self, inner)
    return allocate(inner, self.device)


def _setitem(self: NpuTensor, index: Any, value: Any) -> None:
    self._inner[_on_cpu(index)] = _on_cpu(value)


def _contiguous(
    self: NpuTensor, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    if self.is_contiguous(memory_format=memory_format):
        return self
    return self.clone(memory_format=memory_format)


def _invert(self: NpuTensor) -> Any:
    return torch.ops.aten.bitwise_not(self)


def _nonzero(self: NpuTensor) -> Any:
    return torch.ops.aten.nonzero(self)


def _on_cpu(index: Any) -> Any:
    if isinstance(index, NpuTensor):
        return index._inner
    if isinstance(index, (tuple, list)):
        return type(index)(_on_cpu(part) for part in index)
    return index
