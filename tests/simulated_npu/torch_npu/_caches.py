"""Wrong caches: what the append of a text's next row to the keys and values of the rows before it does,
planted by SIM_NPU_CACHE=STEP:KIND. Step 0 is the prompt's append, each further one a token's. As for any
wrong row, the steps behind it read it, too.

| KIND | what is wrong with the keys and values of every layer, a new row being the last |
|---|---|
| lost | the new row is zeros |
| stale | the new row is the one before it |
| early | the new row is written one place early, and zeros in its own |
| overwrite | an early row is overwritten by the new one |
| batch | the rows of the batch are exchanged |
| leak | the first of the batch stands in the place of the second, too |
| leak_row | the new row of the first of the batch stands in the place of the second's |
| heads | the heads are exchanged |
| old_values | the new row of the values alone is the one before it |
| old_keys | the new row of the keys alone is the one before it |
| shift_keys | the keys are one place off the values |
| four_bits | everything is rounded to halves |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

Tensor = torch.Tensor
_ROWS = 2
"""Where the rows are in (batch, heads, rows, width)."""
_NEW = (slice(None), slice(None), -1)
_EARLY = (slice(None), slice(None), 3)


def _with(tensor: Tensor, at: Any, value: Tensor | float) -> Tensor:
    copy = tensor.clone()
    copy[at] = value
    return copy


def _stale(rows: Tensor) -> Tensor:
    return _with(rows, _NEW, rows[:, :, -2])


def _early(rows: Tensor) -> Tensor:
    nothing = torch.zeros_like(rows[:, :, :1])
    return torch.cat([rows[:, :, :-2], rows[:, :, -1:], nothing], dim=_ROWS)


def _same(rows: Tensor) -> Tensor:
    return rows


Change = Callable[[Tensor], Tensor]
_BOTH: Mapping[str, Change] = {
    "lost": lambda rows: _with(rows, _NEW, 0.0),
    "stale": _stale,
    "early": _early,
    "overwrite": lambda rows: _with(rows, _EARLY, rows[:, :, -1]),
    "batch": lambda rows: rows.flip(0),
    "leak": lambda rows: _with(rows, 1, rows[0]),
    "leak_row": lambda rows: _with(rows, (1, slice(None), -1), rows[0, :, -1]),
    "heads": lambda rows: rows.flip(1),
    "four_bits": lambda rows: (rows * 2).round() / 2,
}
KINDS: Mapping[str, tuple[Change, Change]] = {
    **{kind: (change, change) for kind, change in _BOTH.items()},
    "old_values": (_same, _stale),
    "old_keys": (_stale, _same),
    "shift_keys": (lambda rows: rows.roll(1, dims=_ROWS), _same),
}
"""What happens to the keys, and what to the values."""


class Caches:
    """The appends of a decoder's cache among all concatenations: the prompt's keys go to an empty tensor, a
    token's to those that are kept, and the values follow."""

    def __init__(self, step: int, kind: str) -> None:
        self._due, self._changes = step, KINDS[kind]
        self._prompts: set[int] = set()
        self._values = False

    def instead(self, func: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What a call of aten::cat computes: the planted step's is wrong."""
        return partial(self._append, func), args, kwargs

    def _append(self, func: Any, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = func(*args, **kwargs)
        step = self._step_of(*args)
        if step is None:
            return result
        change = self._changes[self._values]
        self._values = not self._values
        return change(result) if step == self._due else result

    def _step_of(self, tensors: Sequence[Tensor], dim: int = 0) -> int | None:
        """Which step of a text appends here; None where it is no cache's append."""
        if len(tensors) != 2 or dim not in (_ROWS, _ROWS - 4) or tensors[1].dim() != 4:
            return None
        kept, new = tensors
        if not kept.numel():
            self._prompts.add(new.shape[_ROWS])
            return 0
        # An encoder's rows are put in once, too, and more than the decoder ever has here.
        prompt = max((rows for rows in self._prompts if rows <= kept.shape[_ROWS]), default=None)
        return None if prompt is None else kept.shape[_ROWS] - prompt + 1
