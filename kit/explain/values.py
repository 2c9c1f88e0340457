"""What modules take and give: tensors in tuples, dictionaries, dataclasses and objects."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (str, bytes, int, float, complex, bool, type(None), Enum, range, slice)
_AS_THEY_ARE = (*_PLAIN, torch.dtype, torch.device)


def _unheard(plain: object) -> None:
    pass


def mapped(
    value: Any,
    change: Callable[[Tensor], Tensor],
    tell: Callable[[object], object] = _unheard,
) -> Any:
    """`value` anew, with every tensor in it changed; what holds no tensor stays as it is. `tell` is given
    all else in it, in order: what is plain, keys, the kinds of what holds more, and what cannot be seen
    into as it is.

    A key-value cache, or any other object with tensors among its attributes, becomes another object: what
    a module does to it later does not reach the one that was recorded.
    """
    return _mapped(value, change, tell, {})


def _mapped(
    value: Any,
    change: Callable[[Tensor], Tensor],
    tell: Callable[[object], object],
    done: dict[int, Any],
) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (_AS_THEY_ARE, nn.Module, type)) or callable(value):
        tell(value)
        return value
    tell(type(value) if _can_be_seen_into(value) else value)
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_mapped(item, change, tell, done) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    try:
        new = copy.copy(value)
    except TypeError:  # such as a generator: there is no second one
        return value
    done[id(value)] = new
    if isinstance(value, Mapping):
        for key in value:
            tell(key)
            new[key] = _mapped(value[key], change, tell, done)
    if hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            vars(new)[name] = _mapped(item, change, tell, done)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            item = _mapped(getattr(value, field.name), change, tell, done)
            object.__setattr__(new, field.name, item)
    return new


def _can_be_seen_into(value: Any) -> bool:
    holds = (list, tuple, set, frozenset, Mapping, Iterator)  # an iterator is never read
    return isinstance(value, holds) or hasattr(value, "__dict__") or dataclasses.is_dataclass(value)


def plain_text(plain: object) -> str:
    """What mapped() tells of, for two sides that do the same the same, whatever their dtypes and devices.
    Raises ValueError for what may hold tensors that nobody sees, such as a function with its surroundings.
    """
    if isinstance(plain, _PLAIN):
        return repr(plain)
    if isinstance(plain, (torch.dtype, torch.device, nn.Module)):
        return type(plain).__qualname__
    within = getattr(plain, "__closure__", None) or getattr(plain, "__self__", None)
    known = isinstance(plain, (type, FunctionType, BuiltinFunctionType, MethodType))
    if known and isinstance(within, (type(None), ModuleType, nn.Module)):
        return str(getattr(plain, "__qualname__", type(plain).__qualname__))
    raise ValueError(f"nothing is known of what is in a {type(plain).__qualname__}")


def read_once(value: Any) -> bool:
    """Whether there is a generator, or the like, among its items: who reads it leaves nothing of it."""
    if isinstance(value, Mapping):
        return any(read_once(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(read_once(item) for item in value)
    return isinstance(value, Iterator)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Its floating-point tensors, in order, without those of objects of a library's own."""
    return (tensor for tensor in _tensors(value) if tensor.is_floating_point())


def numbers_of(value: Any) -> list[Tensor]:
    """Its floating-point tensors, and its complex ones as pairs of reals, as tensors_of() has them."""
    return numbers_and_exact_of(value)[0]


def numbers_and_exact_of(value: Any) -> tuple[list[Tensor], list[Tensor]]:
    """What numbers_of() gives, and its tensors of integers and booleans, in order."""
    numbers: list[Tensor] = []
    exact: list[Tensor] = []
    for tensor in _tensors(value):
        if tensor.is_complex():
            numbers.append(torch.view_as_real(tensor.resolve_conj()))
        else:
            (numbers if tensor.is_floating_point() else exact).append(tensor)
    return numbers, exact


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif value is None:  # which most optional arguments are
        return
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, Tensor):
                yield item
            elif item is not None:
                yield from _tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _tensors(getattr(value, field.name))


def on_cpu(tensor: Tensor) -> Tensor:
    """A copy on the CPU, of half precision as float32: every value of it is one."""
    narrow = tensor.is_floating_point() and tensor.dtype != torch.float64
    copied = tensor.detach().to("cpu", torch.float32 if narrow else None)
    return copy_of(copied) if tensor.device.type == "cpu" else copied


def copy_of(tensor: Tensor) -> Tensor:
    """A copy; where a tensor on the CPU has its memory for itself, made when somebody writes into one of
    the two, which is rare. A device's memory may be described by more than torch knows of."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    on_its_own = plain and tensor.device.type == "cpu"
    if on_its_own and tensor.untyped_storage().nbytes() == tensor.nbytes:
        try:
            return torch._lazy_clone(tensor)
        except RuntimeError:  # memory of another owner, such as numpy's or a mapped file's
            pass
    return tensor.clone()


def widened(tensor: Tensor) -> Tensor:
    """A copy in float64, of integers as they are."""
    return tensor.double().clone() if tensor.is_floating_point() else tensor.clone()
