"""The reference: the same weights and the same input on the CPU, in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.adapter import Adapter
from kit.errors import UntrustedError

if TYPE_CHECKING:
    from torch import Tensor, nn


def run_reference(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Everything the adapter declares, from a model on the CPU (converted to fp32 in place).

    Raises UntrustedError where the inputs, which came from a record, are nothing the model takes.
    """
    import torch

    model.float()
    try:
        with torch.inference_mode():
            return {
                **adapter.forward(model, inputs),
                **adapter.further_outputs(model, inputs),
            }
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UntrustedError(
            f"the reference cannot run on the record's inputs ({type(error).__name__}: {error}): run "
            "inference.py again"
        ) from error
