"""Parts of what an operator takes on which it is the same operator: fewer rows, columns or channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

_SHARES = (4, 16, 64, 256)
# Which dimension of which arguments may become shorter together: (argument, dimension).
_FREE: dict[str, list[list[tuple[int, int]]]] = {
    "aten::mm": [[(0, 0)], [(1, 1)]],
    "aten::addmm": [[(1, 0)], [(0, -1), (2, 1)]],
    "aten::bmm": [[(0, 0), (1, 0)], [(0, 1)], [(1, 2)]],
    "aten::baddbmm": [[(0, 0), (1, 0), (2, 0)]],
    "aten::convolution": [[(1, 0), (2, 0)], [(0, 0)]],
}
# Row by row: whatever comes before the last dimension of the first argument.
_BY_ROW = {
    *("aten::native_layer_norm", "aten::_softmax", "aten::gelu", "aten::silu", "aten::relu"),
    *("aten::_safe_softmax", "aten::sigmoid", "aten::tanh", "aten::exp", "aten::rsqrt"),
}


def cuts(operator: str, args: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Its arguments cut down, the largest first: from the start, the middle and the end of what is free."""
    groups = _FREE.get(operator, [])
    if operator in _BY_ROW and isinstance(args[0], Tensor) and args[0].dim() > 1:
        groups = [[(0, dim)] for dim in range(args[0].dim() - 1)]
    for share in _SHARES:
        for place in (0.5, 0.0, 1.0):
            for several in (False, True):
                changed = tuple(args)
                for group in groups if several else groups[-1:]:
                    changed = _cut(changed, group, share, place)
                if any(new is not old for new, old in zip(changed, args, strict=True)):
                    yield changed


def _cut(
    args: tuple[Any, ...], group: list[tuple[int, int]], share: int, place: float
) -> tuple[Any, ...]:
    """`args` with one part of `share` left of the dimensions that go together."""
    changed = list(args)
    for position, dim in group:
        value = args[position] if position < len(args) else None
        if not isinstance(value, Tensor) or value.dim() <= abs(dim) - (dim < 0):
            continue
        length = value.shape[dim]
        left = max(1, length // share)
        if left == length:
            continue
        start = min(int(place * length), length - left)
        changed[position] = value.narrow(dim, start, left).contiguous()
    return tuple(changed)
