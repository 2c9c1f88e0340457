"""Standing between a model and the ATen operators that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class EveryOperator(TorchDispatchMode):
    """Every operator that runs inside goes through `call`.

    Here everything arrives: C++ and TorchScript code, and softmax(dtype=) as the cast it contains.
    """

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
        return self.call(func, args, dict(kwargs or {}))

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the operator gives; func(*args, **kwargs) where nothing is to be different."""
        return func(*args, **kwargs)
