"""The operators that run, as PyTorch's dispatcher meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kit.arithmetic.behaviours import CONVOLUTIONS, MATMULS


class Products(TorchDispatchMode):
    """The longest sum of products among the operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Ours to say: True, the default of newer torch, imports torch._dynamo (seconds, 70 MB)."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.longest = max(self.longest, summands(func._schema.name, args))
        return func(*args, **(kwargs or {}))


def summands(operator: str, args: tuple[Any, ...]) -> int:
    """How many products each element of a result is the sum of; 0 for what is no product."""
    if operator in CONVOLUTIONS and isinstance(args[1], Tensor):
        return math.prod(args[1].shape[1:])
    if operator in MATMULS:
        return int(args[MATMULS[operator][0]].shape[-1])
    return 0
