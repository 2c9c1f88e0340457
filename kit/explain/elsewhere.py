"""Running some modules of a model another way than the others: strictly, or on the CPU in fp32."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from kit.arithmetic.interception import EveryOperator
from kit.explain.frames import WHOLE
from kit.explain.values import mapped, on_cpu, tensors_of

# What only moves or names tensors stays where it is.
_STAYS = {"aten::_to_copy", "aten::copy_", "aten::clone", "aten::detach"}


@contextmanager
def switched(
    model: nn.Module, names: Collection[str], switch: Callable[[bool], None]
) -> Iterator[None]:
    """`switch` is told True whenever operators of one of the modules `names` run next, and False whenever
    another module's do: those of a module that it calls are not its own."""
    running: list[bool] = []

    def enter(chosen: bool) -> Callable[..., None]:
        def hook(*_: object) -> None:
            running.append(chosen)
            switch(chosen)

        return hook

    def leave(*_: object) -> None:
        running.pop()
        switch(bool(running) and running[-1])

    with ExitStack() as handles:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(enter((name or WHOLE) in names))
            handles.callback(before.remove)
            handles.callback(module.register_forward_hook(leave, always_call=True).remove)
        handles.callback(switch, False)
        yield


@contextmanager
def on_the_cpu(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """The operators of the modules `names` run on the CPU, in fp32 where they are of half precision."""
    mode = _OnCpu()
    with switched(model, names, mode.switch), mode:
        yield


class _OnCpu(EveryOperator):
    """Computes on the CPU what runs while it is switched on; results go back to the device."""

    def __init__(self) -> None:
        super().__init__()
        self._on = False

    def switch(self, on: bool) -> None:
        """From now on, or no longer."""
        self._on = on

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = next(iter(tensors_of([args, kwargs])), None)
        if not self._on or given is None or not _computes(func):
            return func(*args, **kwargs)

        def back(tensor: Tensor) -> Tensor:
            return tensor.to(given.device, given.dtype if tensor.is_floating_point() else None)

        taken = mapped(args, on_cpu)
        result = func(*taken, **mapped(kwargs, on_cpu))
        if func._schema.is_mutable:
            return args[0].copy_(back(taken[0]))
        return mapped(result, back)


def _computes(func: Any) -> bool:
    """Whether an operator makes something new, or writes into its first argument; views do neither."""
    schema = func._schema
    if schema.name in _STAYS:
        return False
    written = [argument.name for argument in schema.arguments if _written(argument)]
    if written:
        return written == [schema.arguments[0].name] and len(schema.returns) == 1
    return all(returned.alias_info is None for returned in schema.returns)


def _written(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)
