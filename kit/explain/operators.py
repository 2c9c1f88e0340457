"""The operators that run, as PyTorch's dispatcher meets them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kit.arithmetic.behaviours import CONVOLUTIONS, MATMULS
from kit.arithmetic.interception import EveryOperator
from kit.explain.values import numbers_of

# They give what they take.
_COPIES = {"aten::clone", "aten::detach"}


class Products(EveryOperator):
    """The longest sum of products among the operators that run inside, and whether all of them are `exact`:
    what they give is the same on every device, for none rounds and none draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0
        self.exact = True

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.longest = max(self.longest, summands(func._schema.name, args))
        result = func(*args, **kwargs)
        self.exact &= not (
            torch.Tag.nondeterministic_seeded in func.tags
            or (
                func._schema.name not in _COPIES
                and next(numbers_of(_new(func, result)), None) is not None
            )
        )
        return result


def _new(func: Any, result: Any) -> list[Any]:
    """What of a result is no view of what the operator took."""
    given = result if isinstance(result, tuple) else (result,)
    returns = func._schema.returns
    return [each for each, what in zip(given, returns, strict=False) if not _is_view(what)]


def _is_view(returned: Any) -> bool:
    return returned.alias_info is not None and not returned.alias_info.is_write


def summands(operator: str, args: tuple[Any, ...]) -> int:
    """How many products each element of a result is the sum of; 0 for what is no product."""
    if operator in CONVOLUTIONS and isinstance(args[1], Tensor):
        return math.prod(args[1].shape[1:])
    if operator in MATMULS:
        return int(args[MATMULS[operator][0]].shape[-1])
    return 0
