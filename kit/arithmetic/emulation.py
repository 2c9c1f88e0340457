"""The CPU's forward under another arithmetic: operands rounded, GELU by tanh, everything else as it is.

Where the fp64 golden widens every operator, this changes those that a behaviour names. Products of the
rounded operands are summed in fp32, as the devices do: their order differs from the CPU's, which is fp32's
own error and small beside any of the behaviours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kit.arithmetic.behaviours import Behaviour
from kit.arithmetic.rounding import Rounding

_FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_COMPOSITE = "CompositeImplicitAutograd"
_COMPOSED_ATTENTION = torch.ops.aten._scaled_dot_product_attention_math.default


class Emulator:
    """Runs a model on the CPU in fp32 as a device with certain behaviours would.

    Weights are rounded once to each format and kept: as much memory again as those in products take, for
    each format. The tensors of `model` must stay where they are while this is used.
    """

    def __init__(self, model: nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        self._weights = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self._rounded: dict[tuple[Any, ...], Tensor] = {}

    @contextmanager
    def running(self, behaviours: Collection[Behaviour]) -> Iterator[Counter[str]]:
        """What runs inside computes under all of `behaviours`; without gradients. Gives how often each has
        changed an operator so far, by name: one that never does is of no consequence in this model.

        Where several round one operand they do so in the order given. Modes and backend settings are the
        caller's again afterwards, whatever happens inside.
        """
        fired: Counter[str] = Counter()
        with _composed_of_products() as fast:
            # Not in inference mode: it hands over composite operators whole, with the products inside.
            changed = _Changed(behaviours, self._operand, fired, fast)
            with torch.inference_mode(mode=False), torch.no_grad(), changed:
                yield fired

    def _operand(self, x: Tensor, rounding: Rounding) -> Tensor:
        """`x` rounded; a weight, whichever view of it this is, only once."""
        storage = x.untyped_storage().data_ptr()
        if storage not in self._weights:
            return rounding(x)
        version = 0 if x.is_inference() else x._version
        key = (rounding, storage, version, x.storage_offset(), x.shape, x.stride())
        if key not in self._rounded:
            self._rounded[key] = rounding(x)
        return self._rounded[key]


@contextmanager
def _composed_of_products() -> Iterator[bool]:
    """Layers that PyTorch has a single fast operator for on the CPU are composed of products instead:
    nn.MultiheadAttention's, and oneDNN's LSTM. Gives whether oneDNN was on, for the single operators."""
    fast_attention, fast = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        yield fast
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        torch._C._set_mkldnn_enabled(fast)


class _Changed(TorchDispatchMode):
    """Changes the arguments of those ATen operators that a behaviour is about."""

    def __init__(
        self,
        behaviours: Collection[Behaviour],
        operand: Callable[[Tensor, Rounding], Tensor],
        fired: Counter[str],
        fast: bool,
    ) -> None:
        super().__init__()
        self._changes: dict[str, list[Behaviour]] = {}
        for behaviour in behaviours:
            for operator in behaviour.operators:
                self._changes.setdefault(operator, []).append(behaviour)
        self._operand, self._fired, self._fast = operand, fired, fast

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
        kwargs = dict(kwargs or {})
        if func is _FUSED_ATTENTION and "aten::bmm" in self._changes:
            with self:
                return _attention(*args, **kwargs)
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE):
            with self:
                return func.decompose(*args, **kwargs)
        name = func._schema.name
        changed = list(args)
        for behaviour in self._changes.get(name, ()):
            if self._change(behaviour, name, changed, kwargs):
                self._fired[behaviour.name] += 1
        torch._C._set_mkldnn_enabled(self._fast)
        try:
            return func(*changed, **kwargs)
        finally:
            torch._C._set_mkldnn_enabled(False)

    def _change(
        self, behaviour: Behaviour, name: str, args: list[Any], kwargs: dict[str, Any]
    ) -> bool:
        """Change the arguments as the behaviour does; whether it has anything to do with this call."""
        if behaviour.rounding is None:
            before, kwargs["approximate"] = kwargs.get("approximate"), "tanh"
            return before != "tanh"
        positions = behaviour.operators[name]
        if args[positions[0]].dtype != torch.float32:
            return False
        for position in positions:
            args[position] = self._operand(args[position], behaviour.rounding)
        return True


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Any:
    """The CPU's fused attention as the two products and the softmax that it consists of."""
    return _COMPOSED_ATTENTION(
        query, key, value, attn_mask, dropout, is_causal, scale=scale, enable_gqa=True
    )
