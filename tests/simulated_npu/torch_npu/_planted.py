"""Wrong operators: what a kernel with a bug in it computes, planted by SIM_NPU_PLANT.

| KIND | what is wrong |
|---|---|
| eps | ten times the eps of a normalisation |
| no_bias | the bias is left out |
| relu | an activation is ReLU |
| fp16 | its floating-point inputs are rounded to fp16 |
| head | the first matrix of the batch is zeros: one attention head |
| row | the middle row is 0.5% too large |
| neighbour | a row is that of its neighbour |
| shift | everything is one element further along the last dimension, as by a wrong stride |
| tail | the last element of each row was never written: 0 |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Call = tuple[Any, list[Any], dict[str, Any]]


def _position(func: Any, name: str) -> int:
    names = [argument.name for argument in func._schema.arguments]
    if name not in names:
        raise ValueError(f"{func} has no {name} for SIM_NPU_PLANT to change")
    return names.index(name)


def _eps(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Call:
    args[_position(func, "eps")] *= 10
    return func, args, kwargs


def _no_bias(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Call:
    if func._schema.name == "aten::addmm":
        args[0] = torch.zeros_like(args[0])
    else:
        args[_position(func, "bias")] = None
    return func, args, kwargs


def _relu(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Call:
    return torch.ops.aten.relu.default, args[:1], {}


def _fp16(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Call:
    def narrow(value: Any) -> Any:
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.half().to(value.dtype) if floating else value

    return func, [narrow(value) for value in args], kwargs


def _head(result: torch.Tensor) -> torch.Tensor:
    changed = result.clone()
    # What is a batch of one sample has its heads in the second dimension.
    heads = changed[0] if changed.dim() > 3 else changed
    heads[0] = 0
    return changed


def _row(result: torch.Tensor) -> torch.Tensor:
    changed = result.clone(memory_format=torch.contiguous_format)
    rows = changed.view(-1, changed.shape[-1])
    rows[len(rows) // 2] *= 1.005
    return changed


def _neighbour(result: torch.Tensor) -> torch.Tensor:
    changed = result.clone(memory_format=torch.contiguous_format)
    rows = changed.view(-1, changed.shape[-1])
    rows[len(rows) // 2] = rows[len(rows) // 2 - 1]
    return changed


def _shift(result: torch.Tensor) -> torch.Tensor:
    return result.roll(1, -1)


def _tail(result: torch.Tensor) -> torch.Tensor:
    changed = result.clone()
    changed[..., -1] = 0
    return changed


CALLS: Mapping[str, Callable[[Any, list[Any], dict[str, Any]], Call]] = {
    "eps": _eps,
    "no_bias": _no_bias,
    "relu": _relu,
    "fp16": _fp16,
}
"""What computes something else."""
RESULTS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "head": _head,
    "row": _row,
    "neighbour": _neighbour,
    "shift": _shift,
    "tail": _tail,
}
"""What spoils a right result."""
