"""What an NPU has a kernel for and PyTorch's CPU has none: the cells of recurrent networks, whole numbers
counted into bins. Each stands in op-plugin's list of torch_npu's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Tensor = torch.Tensor


def _lstm_cell(
    func: Any,
    of_input: Tensor,
    of_hidden: Tensor,
    cell: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(hidden state, cell, the gates): of the products [batch, 4 width] of input and hidden state."""
    added, forget, new, out = (_plus(of_input, input_bias) + _plus(of_hidden, hidden_bias)).chunk(
        4, 1
    )
    gates = added.sigmoid(), forget.sigmoid(), new.tanh(), out.sigmoid()
    cell = gates[1] * cell + gates[0] * gates[2]
    return gates[3] * cell.tanh(), cell, torch.cat(gates, 1)


def _gru_cell(
    func: Any,
    of_input: Tensor,
    of_hidden: Tensor,
    hidden: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(hidden state, what training keeps): of the products [batch, 3 width]."""
    given, kept = _plus(of_input, input_bias).chunk(3, 1), _plus(of_hidden, hidden_bias).chunk(3, 1)
    reset, update = (given[0] + kept[0]).sigmoid(), (given[1] + kept[1]).sigmoid()
    new = (given[2] + reset * kept[2]).tanh()
    return new + update * (hidden - new), torch.cat((reset, update, new, hidden, kept[2]), 1)


def _plus(products: Tensor, bias: Tensor | None) -> Tensor:
    return products if bias is None else products + bias


def _histc(func: Any, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if values.is_floating_point():
        return func(values, *args, **kwargs)  # type: ignore[no-any-return]
    return func(values.double(), *args, **kwargs).to(values.dtype)  # type: ignore[no-any-return]


KERNELS: Mapping[str, Callable[..., Any]] = {
    "aten::_thnn_fused_lstm_cell": _lstm_cell,
    "aten::_thnn_fused_gru_cell": _gru_cell,
    "aten::histc": _histc,
}
