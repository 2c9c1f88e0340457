"""The calls of a model's modules, one after the other, as they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kit.explain.values import mapped, on_cpu

# In inference they give what they take; they are many, and run again with the module that calls them.
_NOTHING_TO_WATCH = (nn.Identity, nn.modules.dropout._DropoutNd)
WHOLE = "(model)"
"""The name of the model itself."""


@dataclass
class Frame:
    """One call of one module, on the CPU: what it took, what it gave, and what the modules that it called
    itself gave. `in_place`: it gave back what it took as its first argument."""

    name: str
    number: int
    args: Any
    kwargs: Any
    output: Any = None
    in_place: bool = False
    inner: list[Frame] = field(default_factory=list)

    @property
    def made(self) -> list[Any]:
        """What it gave, and what it handed to each module that it called."""
        return [self.output, *([inner.args, inner.kwargs] for inner in self.inner)]

    @property
    def key(self) -> tuple[str, int]:
        """Module and number of the call, from 0."""
        return self.name, self.number


@contextmanager
def watched(
    model: nn.Module,
    ended: Callable[[Frame], None],
    began: Callable[[Frame], None] = lambda frame: None,
    copying: Callable[[bool], None] = lambda on: None,
) -> Iterator[None]:
    """Within it `ended` is given every call of a module of `model` when it ends, inner ones first;
    `copying` is told when the operators that run are those of watching, and when they are the model's."""
    stack: list[Frame] = []
    counts: Counter[str] = Counter()
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            copying(True)
            frame = Frame(name, counts[name], mapped(args, on_cpu), mapped(kwargs, on_cpu))
            copying(False)
            counts[name] += 1
            stack.append(frame)
            began(frame)

        return hook

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        frame = stack.pop()
        copying(True)
        frame.output = mapped(output, on_cpu)
        copying(False)
        frame.in_place = bool(args) and output is args[0]
        if stack:
            stack[-1].inner.append(frame)
        ended(frame)
        for inner in frame.inner:  # they have been looked at
            inner.args = inner.kwargs = inner.output = None
        frame.inner = []

    for name, module in model.named_modules():
        if isinstance(module, _NOTHING_TO_WATCH):
            continue
        handles.append(module.register_forward_pre_hook(enter(name or WHOLE), with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Replica:
    """A model whose modules are run one at a time: the modules that one calls give what was recorded."""

    def __init__(self, model: nn.Module) -> None:
        self._modules: dict[str, nn.Module] = {
            name or WHOLE: module for name, module in model.named_modules()
        }

    def module(self, name: str) -> nn.Module:
        """A module by its name."""
        return self._modules[name]

    def run(self, frame: Frame, change: Callable[[Any], Any]) -> list[Any]:
        """What the module gives for what `frame` took, every tensor of which is changed first (and
        copied: modules may write into what they take), and after it what it hands to each module that it
        calls. Raises what the module raises."""
        given: dict[str, list[Frame]] = {}
        for inner in frame.inner:
            given.setdefault(inner.name, []).append(inner)
        handed: list[Any] = []
        calls = {self._modules[name]: frames for name, frames in given.items()}
        with _giving(calls, change, handed):
            module = self._modules[frame.name]
            output = module(*mapped(frame.args, change), **mapped(frame.kwargs, change))
        return [output, *handed]


@contextmanager
def _giving(
    given: dict[nn.Module, list[Frame]], change: Callable[[Any], Any], handed: list[Any]
) -> Iterator[None]:
    """Let modules give what was recorded of them, call after call, instead of running; what they are
    handed goes into `handed`."""

    def recorded(frames: Sequence[Frame]) -> Callable[..., Any]:
        left = iter(frames)

        def forward(*args: Any, **kwargs: Any) -> Any:
            frame = next(left)
            output = mapped(frame.output, change)
            handed.append(mapped([args, kwargs], torch.clone) if frame.in_place else [args, kwargs])
            return args[0].copy_(output) if frame.in_place else output

        return forward

    own = {module: vars(module).get("forward") for module in given}
    for module, frames in given.items():
        vars(module)["forward"] = recorded(frames)
    try:
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = forward
