"""The operators that run, as PyTorch's dispatcher meets them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
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
        traits = _traits(operator)
        self.longest = max(self.longest, summands(traits.name, args))
        if self.exact:
            self.exact = not traits.random and not numbers_of(_new(traits, result))


@dataclass(frozen=True)
class _Traits:
    """Of an operator: its name, whether it draws random numbers, and which of its results are new (none
    of one that gives what it takes), others being views."""

    name: str
    random: bool
    new: tuple[bool, ...]


@cache
def _traits(operator: Any) -> _Traits:
    schema = operator._schema
    return _Traits(
        name=schema.name,
        random=torch.Tag.nondeterministic_seeded in operator.tags,
        new=tuple(schema.name not in _COPIES and not _is_view(each) for each in schema.returns),
    )


def _new(traits: _Traits, result: Any) -> list[Any]:
    """What of a result is no view of what the operator took."""
    given = result if isinstance(result, tuple) else (result,)
    return [each for each, new in zip(given, traits.new, strict=False) if new]


def _is_view(returned: Any) -> bool:
    return returned.alias_info is not None and not returned.alias_info.is_write


def summands(operator: str, args: tuple[Any, ...]) -> int:
    """How many products each element of a result is the sum of; 0 for what is no product."""
    if operator in CONVOLUTIONS and isinstance(args[1], Tensor):
        return math.prod(args[1].shape[1:])
    if operator in MATMULS:
        return int(args[MATMULS[operator][0]].shape[-1])
    return 0
