"""The operators that run, as PyTorch's dispatcher meets them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kit.arithmetic.behaviours import CONVOLUTIONS, MATMULS
from kit.explain.values import numbers_of

# They give what they take.
_COPIES = {"aten::clone", "aten::detach"}


class Products:
    """The longest sum of products among the operators that it is told of, and whether all of them are
    `exact`: what they give is the same on every device, for none rounds and none draws random numbers."""

    def __init__(self) -> None:
        self.longest = 0
        self.exact = True

    def seen(self, operator: Any, args: tuple[Any, ...], result: Any) -> None:
        """One more operator, what it took and what it gave."""
        self.longest = max(self.longest, summands(operator._schema.name, args))
        self.exact = self.exact and not (
            torch.Tag.nondeterministic_seeded in operator.tags
            or (
                operator._schema.name not in _COPIES
                and next(numbers_of(_new(operator, result)), None) is not None
            )
        )


def _new(operator: Any, result: Any) -> list[Any]:
    """What of a result is no view of what the operator took."""
    given = result if isinstance(result, tuple) else (result,)
    returns = operator._schema.returns
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
