"""The golden: the same weights and the same input on the CPU, in fp64 from the first to the last operator.

`model.double()` alone is no fp64 reference. Models cast to float32 on the way (T5LayerNorm takes its
variance there, generate() its scores), and every such cast puts fp32's rounding back: T5's outputs are
then a quarter to a half as far off as fp32's own. Here each of those casts gives float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kit.arithmetic.interception import EveryOperator
from kit.errors import CannotRunError, named
from kit.machine.memory import available_bytes
from kit.models.adapter import Adapter
from kit.words import Reason

_WIDER = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
    torch.complex32: torch.complex128,
}
_FLOAT64_BYTES = 8
# A rule of thumb for activations: so many fp64 values live at once for each value of an image (a
# convolution's channels) and for each pair of tokens (attention's heads). Measured: flan-t5-small takes
# 19 for each pair of 2048 tokens, vit_tiny none worth counting.
_LIVE_VALUES = 64
_RUNTIME_BYTES = (
    256 << 20
)  # whatever the input: the matrix products' buffers, the allocator's slack
_VIEW_AS_DTYPE = torch.ops.aten.view.dtype


def run_golden(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Everything the adapter declares, computed in fp64 throughout; floating outputs are float64.

    `model` is on the CPU. It is converted in place, once, and stays fp64: `model.float()` gives back
    the fp32 weights bit by bit, for every fp32 value is an fp64 value. `inputs` are the run's own
    (CPU); floating ones are widened. generate() takes the path of its own, fp64 scores.
    Raises CannotRunError where the model does not run in fp64.
    """
    widened = {name: _widened(tensor) for name, tensor in inputs.items()}
    try:
        model.double()
        with float64_only():
            return adapter.every_output(model, widened)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CannotRunError(
            Reason("no_fp64", name=adapter.info.name, said=named(error)),
            Reason("without_golden"),
        ) from error


def golden_skipped(
    model: nn.Module, inputs: Mapping[str, Tensor], available: int | None = None
) -> Reason | None:
    """Why run_golden() had better not run here, in one line with the numbers; None where it may.

    It needs the parameters and buffers of `model`, which has its weights, in fp64 and room for
    activations, in `available` bytes; None is what this process may still take (kit.machine.memory).
    """
    available = available_bytes() if available is None else available
    tensors = [*model.parameters(), *model.buffers()]  # tied ones once
    weights = sum(_FLOAT64_BYTES * tensor.numel() for tensor in tensors)
    activations = _activation_bytes(inputs)
    if available is None:
        return Reason("memory_unknown", needed=_gib(weights + activations))
    if weights + activations <= available:
        return None
    return Reason(
        "memory",
        needed=_gib(weights + activations),
        weights=_gib(weights),
        free=_gib(available),
    )


@contextmanager
def float64_only() -> Iterator[None]:
    """No operator inside takes or returns float32, float16 or bfloat16: they are float64 instead.

    That is so for casts to them and for tensors made as one of them, by name or by default (complex64
    becomes complex128); such tensors from outside are widened where they are used. Without gradients.
    The default dtype and all modes are the caller's again afterwards, whatever happens inside.

    Numbers given to torch.FloatTensor(), or already in an fp32 numpy array, keep the value that fp32
    rounded them to. Raises RuntimeError for what has no fp64 form: writing into a narrower tensor from
    outside, and reinterpreting bits (Tensor.view with a dtype).
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        # Not in inference mode: it hands over composite operators whole, with the casts inside them.
        with torch.inference_mode(mode=False), torch.no_grad(), _WideLiterals(), _WideOperators():
            yield
    finally:
        torch.set_default_dtype(default)


class _WideOperators(EveryOperator):
    """Widens what goes into every ATen operator: dtypes asked for, and tensors that are narrower."""

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _refuse(func, args, kwargs)
        wide = {name: _widened(value) for name, value in kwargs.items()}
        return func(*[_widened(value) for value in args], **wide)


class _WideLiterals(TorchFunctionMode):
    """Widens the dtype of torch.tensor() and its like before they round their numbers to it.

    An ATen operator only ever sees the rounded tensor.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if kwargs and kwargs.get("dtype") in _WIDER:
            kwargs = {**kwargs, "dtype": _WIDER[kwargs["dtype"]]}
        return func(*args, **(kwargs or {}))


def _widened(value: Any) -> Any:
    """A dtype, a tensor or a list of tensors, none narrower than float64; anything else as it is."""
    if isinstance(value, Tensor):
        wider = _WIDER.get(value.dtype)
        return value if wider is None else value.to(wider)
    if isinstance(value, torch.dtype):
        return _WIDER.get(value, value)
    if isinstance(value, (list, tuple)):
        return [_widened(item) for item in value]
    return value


def _refuse(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise RuntimeError where widening would change what the operator does."""
    if func is _VIEW_AS_DTYPE:
        raise RuntimeError("a reinterpretation of bits (Tensor.view with a dtype) has no fp64 form")
    if func._schema.is_mutable:
        written = kwargs.get("out", args[0] if args else None)
        if isinstance(written, Tensor) and written.dtype in _WIDER:
            raise RuntimeError(f"{func} writes into a {written.dtype} tensor from outside")


def _activation_bytes(inputs: Mapping[str, Tensor]) -> int:
    """What the activations of one input may take: see _LIVE_VALUES."""
    values = sum(
        tensor.numel() ** (1 if tensor.is_floating_point() else 2) for tensor in inputs.values()
    )
    return _RUNTIME_BYTES + _FLOAT64_BYTES * _LIVE_VALUES * values


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
