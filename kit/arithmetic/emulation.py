"""The CPU's forward under another arithmetic: operands rounded, GELU by tanh, everything else as it is.

Where the golden widens every operator, this changes those that a behaviour names. Products of the
rounded operands are summed in fp32, as the devices do: their order differs from the CPU's, which is fp32's
own error and small beside any of the behaviours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from kit.arithmetic.behaviours import Behaviour
from kit.arithmetic.interception import EveryOperator
from kit.arithmetic.rounding import Rounding

_FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_COMPOSITE = "CompositeImplicitAutograd"
_COMPOSED_ATTENTION = torch.ops.aten._scaled_dot_product_attention_math.default

Seen = Callable[[Any, tuple[Any, ...], Any], None]
"""Told of an ATen operator that ran: the operator, what it took, and what it gave."""


def _unseen(operator: Any, args: tuple[Any, ...], result: Any) -> None:
    pass


class Emulator:
    """Runs a model on the CPU in fp32 as a device with certain behaviours would.

    Weights are rounded once and kept until a run without their format: as much memory again as those in
    products take. `model` keeps the parameters and buffers that it has now, and they stay where they are
    while something runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors = [*model.parameters(), *model.buffers()]
        self._places: list[int] = []
        self._weights: set[int] = set()
        self._rounded: dict[tuple[Any, ...], Tensor] = {}
        # Finite elements of operands that fp16 made infinite, each time that they were rounded.
        self.overflowed = 0

    @contextmanager
    def running(
        self,
        behaviours: Collection[Behaviour],
        watched: Collection[Behaviour] = (),
        seen: Seen = _unseen,
    ) -> Iterator[Counter[str]]:
        """What runs inside computes under all of `behaviours`; without gradients. Gives how often each has
        changed an operator so far, by name: one that never does is of no consequence in this model.
        Those `watched` are counted as well, and change nothing. `seen` is told of every operator.

        Where several round one operand they do so in the order given. Modes and backend settings are the
        caller's again afterwards, whatever happens inside.
        """
        fired: Counter[str] = Counter()
        with self.arithmetic(behaviours, watched).running(seen, fired):
            yield fired

    def arithmetic(
        self, behaviours: Collection[Behaviour], watched: Collection[Behaviour] = ()
    ) -> Arithmetic:
        """The same for many short runs, as long as the weights stay where they are."""
        self._keep({behaviour.rounding for behaviour in behaviours})
        return Arithmetic(behaviours, watched, self._operand)

    def _keep(self, formats: Collection[Rounding | None]) -> None:
        """See where the weights are now, and let go of what is rounded otherwise or was elsewhere."""
        places = [tensor.data_ptr() for tensor in self._tensors]
        if places != self._places:
            self._places, self._rounded = places, {}
            self._weights = {tensor.untyped_storage().data_ptr() for tensor in self._tensors}
        self._rounded = {key: x for key, x in self._rounded.items() if key[0] in formats}

    def _operand(self, x: Tensor, rounding: Rounding) -> Tensor:
        """`x` rounded; a weight, whichever view of it this is, only once."""
        storage = x.untyped_storage().data_ptr()
        if storage not in self._weights:
            return self._round(x, rounding)
        version = 0 if x.is_inference() else x._version
        key = (rounding, storage, version, x.storage_offset(), x.shape, x.stride())
        if key not in self._rounded:
            self._rounded[key] = self._round(x, rounding)
        return self._rounded[key]

    def _round(self, x: Tensor, rounding: Rounding) -> Tensor:
        rounded = rounding(x)
        if rounding.fp16_range:
            self.overflowed += int((rounded.isinf() & x.isfinite()).sum())
        return rounded


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


class Arithmetic:
    """Behaviours by the operators that they change; Emulator.running() says of what."""

    def __init__(
        self,
        behaviours: Collection[Behaviour],
        watched: Collection[Behaviour],
        operand: Callable[[Tensor, Rounding], Tensor],
    ) -> None:
        self.active = {behaviour.name for behaviour in behaviours}
        self.changes: dict[str, list[Behaviour]] = {}
        for behaviour in (*behaviours, *(each for each in watched if each.name not in self.active)):
            for operator in behaviour.operators:
                self.changes.setdefault(operator, []).append(behaviour)
        self.operand = operand

    @contextmanager
    def running(self, seen: Seen, fired: Counter[str]) -> Iterator[None]:
        """What runs inside computes so, as Emulator.running() has it; `fired` counts on."""
        with _composed_of_products() as fast:
            # Not in inference mode: it hands over composite operators whole, with the products inside.
            changed = _Changed(self, fired, seen, fast)
            with torch.inference_mode(mode=False), torch.no_grad(), changed:
                yield


@cache
def _name_of(func: Any) -> tuple[str, bool]:
    """ATen's name of an operator, for all its overloads, and whether it is composed of others."""
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE)
    return func._schema.name, composite


class _Changed(EveryOperator):
    """Changes the arguments of those ATen operators that a behaviour is about."""

    def __init__(self, arithmetic: Arithmetic, fired: Counter[str], seen: Seen, fast: bool) -> None:
        super().__init__()
        self._active, self._changes = arithmetic.active, arithmetic.changes
        self._operand = arithmetic.operand
        self._fired, self._seen, self._fast = fired, seen, fast

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is _FUSED_ATTENTION and "aten::bmm" in self._changes:
            with self:
                return _attention(*args, **kwargs)
        name, composite = _name_of(func)
        if composite:
            with self:
                return func.decompose(*args, **kwargs)
        changed = list(args)
        for behaviour in self._changes.get(name, ()):
            if not _has_work(behaviour, name, args, kwargs):
                continue
            self._fired[behaviour.name] += 1
            if behaviour.name in self._active:
                self._change(behaviour, name, changed, kwargs)
        torch._C._set_mkldnn_enabled(self._fast)
        try:
            result = func(*changed, **kwargs)
        finally:
            torch._C._set_mkldnn_enabled(False)
        self._seen(func, args, result)
        return result

    def _change(
        self, behaviour: Behaviour, name: str, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """Change the arguments in place as the behaviour does."""
        if behaviour.rounding is None:
            kwargs["approximate"] = "tanh"
            return
        for position in behaviour.operators[name]:
            args[position] = self._operand(args[position], behaviour.rounding)


def _has_work(
    behaviour: Behaviour, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bool:
    """Whether a call is one that the behaviour changes: an exact GELU, or a product in float32."""
    if behaviour.rounding is None:
        return kwargs.get("approximate") != "tanh"
    return bool(args[behaviour.operators[name][0]].dtype == torch.float32)


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
