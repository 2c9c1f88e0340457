"""The operators that run, as PyTorch's dispatcher meets them."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from kit.arithmetic.behaviours import CONVOLUTIONS, MATMULS
from kit.arithmetic.interception import EveryOperator


class Products(EveryOperator):
    """The longest sum of products among the operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.longest = max(self.longest, summands(func._schema.name, args))
        return func(*args, **kwargs)


def summands(operator: str, args: tuple[Any, ...]) -> int:
    """How many products each element of a result is the sum of; 0 for what is no product."""
    if operator in CONVOLUTIONS and isinstance(args[1], Tensor):
        return math.prod(args[1].shape[1:])
    if operator in MATMULS:
        return int(args[MATMULS[operator][0]].shape[-1])
    return 0
