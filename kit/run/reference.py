"""The reference: the same weights and the same input on the CPU, in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.adapter import Adapter

if TYPE_CHECKING:
    from torch import Tensor, nn


def run_reference(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Everything the adapter declares, from a model on the CPU (converted to fp32 in place)."""
    import torch

    model.float()
    with torch.inference_mode():
        return {
            **adapter.forward(model, inputs),
            **adapter.further_outputs(model, inputs),
        }
