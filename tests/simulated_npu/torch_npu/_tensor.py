"""The tensor of the simulated device and what becomes of an operator that meets one.

An `NpuTensor` says `device='npu:0'` and holds its data in an ordinary CPU tensor. PyTorch hands
every operator on it to `__torch_dispatch__`: the CPU tensors are taken out, the CPU computes, and
the results are wrapped again. Views of the CPU tensor share its storage, so views alias here too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from . import _arithmetic, _clock, _errors, _faults, _memory, _missing, _operators, _random
from ._switches import SWITCHES

_make_wrapper = torch.Tensor._make_wrapper_subclass
_below_autograd = torch._C._AutoDispatchBelowAutograd
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_CPU = torch.device("cpu")

# Operators that accept CPU tensors beside device tensors: copies, and indexing by CPU indices.
_CROSS_DEVICE = frozenset(
    {"aten::copy_", "aten::_copy_from", "aten::index", "aten::_unsafe_index", "aten::index_put"}
    | {"aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index_put"}
)
# A view whose schema does not say so.
_UNDECLARED_VIEWS = frozenset({"aten::_unsafe_view"})

_Place = int | str
"""Where an argument stands: its position, or its keyword."""


class NpuTensor(torch.Tensor):
    """A tensor on the simulated device."""

    _inner: torch.Tensor
    """The data, on the CPU."""
    _block: _memory.Block
    """The device memory that the data takes; it also names the device."""

    # The operators are caught one layer below; catching calls here as well would only cost time.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it without `cls`
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return run(func, args, kwargs or {})

    # With these two PyTorch knows a wrapper subclass, and Module.to() swaps a parameter's contents
    # instead of replacing the parameter. Tied weights stay tied that way.
    def __tensor_flatten__(self) -> tuple[list[str], _memory.Block]:
        return ["_inner"], self._block

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, torch.Tensor], block: _memory.Block, size: Any, stride: Any
    ) -> NpuTensor:
        return _wrap(inner["_inner"], block)

    # The setter must bring along what lies behind the wrapper, too.
    @property
    def data(self) -> torch.Tensor:
        return torch.Tensor.data.__get__(self)  # type: ignore[attr-defined,no-any-return]

    @data.setter
    def data(self, other: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self._inner, self._block = other._inner, other._block  # type: ignore[attr-defined]

    # Torch's own versions of these four treat a tensor subclass apart from a device tensor.
    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"{repr(self.detach().cpu())[:-1]}, device='{self.device}')"

    def __format__(self, spec: str) -> str:
        return format(self.detach().cpu(), spec) if self.dim() == 0 else repr(self)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What does not change from call to call of an operator."""

    name: str
    decompose: bool
    """PyTorch has it as a composition of others: run those."""
    is_view: bool
    written: tuple[_Place | None, ...]
    """For each result, the argument that it is (None: a new tensor)."""
    bend: _arithmetic.Bend | None
    kernel: _arithmetic.Kernel | None
    hooks: _faults.Hooks | None
    is_random: bool
    waits: bool
    """The CPU must know the values, if only to know the shape."""
    costs_time: bool


_plans: dict[Any, _Plan] = {}


def _plan(func: Any) -> _Plan:
    overload = func.name()
    name = _operators.base_name(overload)
    schema = func._schema
    returned = [result.alias_info for result in schema.returns]
    is_view = name in _UNDECLARED_VIEWS or any(alias and not alias.is_write for alias in returned)
    plan = _Plan(
        name=name,
        decompose=_operators.is_composite(func),
        is_view=is_view,
        written=tuple(_place_of(alias, schema.arguments) for alias in returned),
        bend=_arithmetic.bend_of(name),
        kernel=_arithmetic.kernel_of(name) or _missing.KERNELS.get(name),
        hooks=_faults.hooks_of(name, overload),
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        waits=torch.Tag.dynamic_output_shape in func.tags,
        costs_time=_clock.costs_time(name, launches_kernel=not is_view),
    )
    _plans[func] = plan
    return plan


def _place_of(alias: Any, arguments: Sequence[Any]) -> _Place | None:
    if alias is None or not alias.is_write:
        return None
    for position, argument in enumerate(arguments):
        own = argument.alias_info
        if own is not None and own.before_set == alias.before_set:
            return argument.name if argument.kwarg_only else position
    return None


class _Call:
    """One operator on its way through the device."""

    __slots__ = ("args", "first", "host", "kwargs", "plan", "target")

    def __init__(self, plan: _Plan, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.plan = plan
        self.args = args
        self.kwargs = kwargs
        self.first: NpuTensor | None = None
        """The first device tensor among the arguments."""
        self.host: torch.Tensor | None = None
        """A CPU tensor among them that is more than a scalar."""
        self.target: _memory.Pool | None = None
        """Where new tensors go; None: to the CPU."""

    def run(self, func: Any) -> Any:
        plan = self.plan
        args = self._unwrap(self.args)
        kwargs = self.kwargs
        if kwargs:
            kwargs = dict(zip(kwargs, self._unwrap(kwargs.values()), strict=True))
        if self.host is not None and self.first is not None and plan.name not in _CROSS_DEVICE:
            raise _errors.device_mismatch(self.first._block.device, self.host.device)
        self._choose_target(kwargs)

        hooks = plan.hooks
        if hooks is not None:
            for hook in hooks.before:
                hook()
        with _below_autograd():
            compute = func
            if hooks is not None:
                compute, args, kwargs = hooks.call(func, args, kwargs)
            if plan.bend is not None and compute is func:
                args, kwargs = plan.bend(args, kwargs)
            if plan.kernel is not None:
                compute = partial(plan.kernel, compute)
            if plan.is_random and self.first is not None:
                with _random.drawing_from(self.first._block.device.index):
                    result = compute(*args, **kwargs)
            else:
                result = compute(*args, **kwargs)
            if hooks is not None:
                result = hooks.change(result, in_place=any(p is not None for p in plan.written))

        if self.first is not None:
            device = self.first._block.device.index
            if plan.costs_time:
                _clock.launch(device)
            if plan.waits:
                _clock.wait(device)
        if len(plan.written) == 1:
            return self._outward(result, plan.written[0])
        if not plan.written:
            return result
        return tuple(map(self._outward, result, plan.written))

    def _unwrap(self, values: Iterable[Any]) -> list[Any]:
        """`values` with the CPU tensors in place of their wrappers."""
        inner = []
        for value in values:
            kind = type(value)
            if kind is NpuTensor:
                if self.first is None:
                    self.first = value
                elif value._block.pool is not self.first._block.pool:
                    raise _errors.device_mismatch(self.first._block.device, value._block.device)
                value = value._inner
            elif kind is list or kind is tuple:
                value = self._unwrap(value)
            elif isinstance(value, torch.Tensor) and value.dim():
                self.host = value
            inner.append(value)
        return inner

    def _choose_target(self, kwargs: dict[str, Any]) -> None:
        """The device asked for, else that of the operands; the work is done on the CPU anyway."""
        wanted = kwargs.get("device")
        if wanted is None:
            self.target = None if self.first is None else self.first._block.pool
        elif wanted.type == "npu":
            kwargs["device"] = _CPU
            self.target = _memory.pool(wanted.index)

    def _outward(self, value: Any, place: _Place | None) -> Any:
        """What the caller gets for one result, or for a list of them."""
        if place is not None:
            value = self.args[place] if isinstance(place, int) else self.kwargs[place]
            if type(value) is NpuTensor:
                _follow_resize(value)
                return value
        elif isinstance(value, torch.Tensor):
            if self.target is not None:
                if self.plan.is_view and self.first is not None:
                    return share_memory(self.first, value)
                return _wrap(value, _memory.Block(self.target, value.untyped_storage().nbytes()))
        elif type(value) in (list, tuple):
            return [self._outward(item, None) for item in value]
        # What leaves the device, a CPU tensor or a number, must have been computed by then.
        if self.first is not None:
            _clock.wait(self.first._block.device.index)
        return value


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Compute one operator for the device."""
    if SWITCHES.stdout and not _plans:
        os.write(1, b"[INFO] the first operator\n")
    plan = _plans.get(func) or _plan(func)
    if plan.decompose:
        return func._op_dk(_COMPOSITE, *args, **kwargs)
    return _Call(plan, args, kwargs).run(func)


def _wrap(inner: torch.Tensor, block: _memory.Block) -> NpuTensor:
    wrapper = _make_wrapper(
        NpuTensor,
        inner.shape,
        strides=inner.stride(),
        storage_offset=inner.storage_offset(),
        dtype=inner.dtype,
        device=block.device,
    )
    wrapper._inner = inner
    wrapper._block = block
    return wrapper


def share_memory(base: NpuTensor, inner: torch.Tensor) -> NpuTensor:
    """Wrap another look at `base`'s memory."""
    # It shares the version counter of an ordinary `base`, and then must not be an inference tensor,
    # not even where it is made in inference mode.
    if torch.is_inference_mode_enabled() and not base.is_inference():
        with torch._C._InferenceMode(False):
            return _wrap(inner, base._block)
    return _wrap(inner, base._block)


def _follow_resize(wrapper: NpuTensor) -> None:
    """Give a wrapper the shape that an in-place or an out= operator gave its data."""
    inner = wrapper._inner
    if wrapper.shape == inner.shape and wrapper.stride() == inner.stride():
        return
    size = inner.untyped_storage().nbytes()
    if size != wrapper._block.size:
        wrapper._block = _memory.Block(wrapper._block.pool, size)
    wrapper.data = share_memory(wrapper, inner)


def allocate(inner: torch.Tensor, device: torch.device | None) -> NpuTensor:
    """`inner` as a new tensor on `device` (no index: on the current one)."""
    pool = _memory.pool(None if device is None else device.index)
    return _wrap(inner, _memory.Block(pool, inner.untyped_storage().nbytes()))
