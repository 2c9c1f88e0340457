"""Which outputs come from heads that the checkpoint does not carry: found by moving the heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.errors import UsageError
from kit.models.adapter import Adapter
from kit.weights.fitting import Account, random_heads
from kit.weights.random_init import random_state_dict
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


def outputs_of_heads(
    adapter: Adapter,
    model: nn.Module,
    account: Account | None,
    inputs: Mapping[str, Tensor],
    seed: int,
) -> list[str]:
    """The outputs that change with the values of the initialised tensors (a model on the CPU).

    They say nothing of the pretrained model. Raises UsageError where the primary output is among them:
    every headline figure would be of random weights.
    """
    if account is None or not account.initialised:
        return []
    first = _outputs(adapter, model, inputs)
    own = {name: model.state_dict()[name] for name in account.initialised}
    before = {name: tensor.clone() for name, tensor in own.items()}
    for name, tensor in random_state_dict(own, seed + 1).items():
        own[name].copy_(tensor)
    second = _outputs(adapter, model, inputs)
    for name, tensor in before.items():
        own[name].copy_(tensor)
    moved = [name for name in first if not _same(first[name], second.get(name))]
    shapes = {name: tuple(output.shape) for name, output in first.items()}
    primary = adapter.with_outputs(shapes).primary
    if primary in moved:
        heads = ", ".join(random_heads(account)[:3])
        raise UsageError(
            Reason("no_heads", heads=heads, output=primary),
            Reason("give_head"),
        )
    return moved


def _outputs(adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    import torch

    with torch.inference_mode():
        return adapter.every_output(model, inputs)


def _same(first: Tensor, second: Tensor | None) -> bool:
    import torch

    return second is not None and torch.equal(first, second)
