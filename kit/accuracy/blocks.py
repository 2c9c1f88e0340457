"""Walking a pair of tensors in row-major blocks, so that memory does not grow with their size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def blocks(
    reference: Tensor, device: Tensor, elements: int, *, row: int = 1, offset: int = 0
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (offset of the first element, reference block, device block) of two tensors of one shape.

    A block holds about `elements` elements, always whole rows of `row`. What is yielded are views; a
    tensor that is not contiguous is cut along its leading dimensions, and only widen() copies a block.
    """
    if reference.is_contiguous() and device.is_contiguous():
        reference, device, inner = reference.view(-1), device.view(-1), 1
    else:
        inner = reference[0].numel()
    if inner > max(elements, row) and reference.dim() > 1:
        for index in range(reference.shape[0]):
            yield from blocks(
                reference[index], device[index], elements, row=row, offset=offset + index * inner
            )
        return
    step = max(elements // inner, 1) if inner > 1 else max(elements // row, 1) * row
    for start in range(0, reference.shape[0], step):
        part = slice(start, start + step)
        yield offset + start * inner, reference[part], device[part]


def widen(block: Tensor, *, single: bool) -> Tensor:
    """A block as a contiguous 1-D tensor in fp32 where `single` (the dtype must fit), else in fp64."""
    import torch

    return block.to(torch.float32 if single else torch.float64).reshape(-1).contiguous()


def as_real(tensor: Tensor) -> Tensor:
    """A complex tensor as pairs of real and imaginary parts (one more dimension, of 2), and lazy
    conjugates and negatives carried out, which numpy cannot read."""
    import torch

    tensor = tensor.resolve_conj().resolve_neg()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def fits_single(tensor: Tensor) -> bool:
    """Whether fp32 holds every value of the tensor's dtype."""
    import torch

    if tensor.dtype.is_floating_point:
        return tensor.dtype != torch.float64
    return tensor.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
