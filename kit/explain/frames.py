"""The calls of a model's modules, one after the other, as they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from kit.explain.values import copy_of, mapped, on_cpu, read_once

# In inference they give what they take; they are many, and run again with the module that calls them.
_NOTHING_TO_WATCH = (nn.Identity, nn.modules.dropout._DropoutNd)
WHOLE = "(model)"
"""The name of the model itself."""


@dataclass
class Frame:
    """One call of one module, on the CPU: what it took, what it gave, and what the modules that it called
    itself gave. `in_place`: the position or keyword of the argument that it gave back; `written`: what
    stood afterwards in each argument that it wrote into; `raised`: what ended it otherwise; `lost`: why
    what it took and gave is not known. The module's own hooks, and global ones, are part of the call."""

    name: str
    number: int
    args: Any
    kwargs: Any
    output: Any = None
    in_place: int | str | None = None
    written: dict[Any, Tensor] = field(default_factory=dict)
    raised: BaseException | None = None
    lost: str = ""
    inner: list[Frame] = field(default_factory=list)

    @property
    def made(self) -> list[Any]:
        """What it gave, and what it handed to each module that it called."""
        return [self.output, *([inner.args, inner.kwargs] for inner in self.inner)]

    def forget(self) -> None:
        """Let go of what it took and gave."""
        self.args = self.kwargs = self.output = self.raised = None
        self.written = {}

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
    *,
    taken: bool = True,
) -> Iterator[None]:
    """Within it `ended` is given every call of a module of `model` when it ends, if by an exception too,
    inner ones first; `copying` is told when the operators that run are those of watching, and when they
    are the model's. Without `taken` it is only told what calls gave."""
    watching = _Watching(ended, began, copying, taken)
    calls = {
        module: watching.recorded(name or WHOLE, module._call_impl)
        for name, module in model.named_modules()
        if not isinstance(module, _NOTHING_TO_WATCH)
    }
    with _without_fused_attention(), _called_as(calls):
        yield


@dataclass
class _Watching:
    """The calls that run now, outer ones first, and how many each module had."""

    ended: Callable[[Frame], None]
    began: Callable[[Frame], None]
    copying: Callable[[bool], None]
    taken: bool
    stack: list[Frame] = field(default_factory=list)
    copies: MutableMapping[Tensor, tuple[int, Tensor]] = field(default_factory=WeakIdKeyDictionary)
    counts: Counter[str] = field(default_factory=Counter)

    def recorded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The module's call, recorded."""

        def recorded(*args: Any, **kwargs: Any) -> Any:
            taken = _by_place(args, kwargs) if self.taken else {}
            versions = _versions(taken)
            frame = self._begin(name, *((args, kwargs) if self.taken else ((), {})))
            try:
                output = call(*args, **kwargs)
                self._gave(frame, taken, versions, output)
            except BaseException as failure:  # which the model may catch
                frame.raised = failure
                raise
            finally:
                self._leave(frame)
            return output

        return recorded

    def _begin(self, name: str, args: Any, kwargs: Any) -> Frame:
        self.copying(True)
        taken = mapped(args, self._copy), mapped(kwargs, self._copy)
        frame = Frame(name, self.counts[name], *taken)
        self.copying(False)
        self.counts[name] += 1
        self.stack.append(frame)
        self.began(frame)
        return frame

    def _gave(
        self, frame: Frame, taken: Mapping[Any, Any], versions: Mapping[Any, int], output: Any
    ) -> None:
        self.copying(True)
        frame.output = mapped(output, self._copy)
        written = (place for place, version in versions.items() if taken[place]._version != version)
        frame.written = {place: self._copy(taken[place]) for place in written}
        self.copying(False)
        given_back = (place for place, value in taken.items() if value is output)
        frame.in_place = next(given_back, None)

    def _copy(self, tensor: Tensor) -> Tensor:
        """On the CPU. What one module gives and the next takes is one tensor, and is copied once."""
        if tensor.is_inference():  # which does not know how often it was written into
            return on_cpu(tensor)
        version, known = self.copies.get(tensor, (None, tensor))
        if version == tensor._version:
            return known
        copied = on_cpu(tensor)
        self.copies[tensor] = tensor._version, copied
        return copied

    def _leave(self, frame: Frame) -> None:
        self.stack.pop()
        if self.stack:
            self.stack[-1].inner.append(frame)
        self.ended(frame)
        for inner in frame.inner:  # they have been looked at
            inner.forget()
        frame.inner = []


@contextmanager
def _called_as(calls: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Calls of these modules run this instead. It stands where a call begins, before every hook and after
    the last one: hooks are neither left out of what is recorded nor applied to it twice."""
    own = {module: vars(module).get("_call_impl") for module in calls}
    for module, call in calls.items():
        vars(module)["_call_impl"] = call
    try:
        yield
    finally:
        for module, call_of_its_own in own.items():
            if call_of_its_own is None:
                del vars(module)["_call_impl"]
            else:
                vars(module)["_call_impl"] = call_of_its_own


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """PyTorch's encoder layers run their modules, instead of one operator in place of them all."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _by_place(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[Any, Any]:
    """Arguments by their position or keyword."""
    return {**dict(enumerate(args)), **kwargs}


def _versions(taken: Mapping[Any, Any]) -> dict[Any, int]:
    """How often each tensor has been written into; those made in inference mode do not know."""
    return {
        place: value._version
        for place, value in taken.items()
        if isinstance(value, Tensor) and not value.is_inference()
    }


class Replica:
    """A model whose modules are run one at a time: the modules that one calls give what was recorded."""

    def __init__(self, model: nn.Module) -> None:
        self._modules: dict[str, nn.Module] = {
            name or WHOLE: module for name, module in model.named_modules()
        }

    def module(self, name: str) -> nn.Module:
        """A module by its name."""
        return self._modules[name]

    def run(
        self,
        frame: Frame,
        change: Callable[[Any], Any],
        inside: AbstractContextManager[object] | None = None,
    ) -> list[Any]:
        """What the module gives for what `frame` took, every tensor of which is changed first (and
        copied: modules may write into what they take), and after it what it hands to each module that it
        calls. `inside` is where it runs. Raises what the module raises."""
        if read_once([frame.args, frame.kwargs, *(inner.output for inner in frame.inner)]):
            raise TypeError("a generator that it took, or was given, cannot be read again")
        given: dict[str, list[Frame]] = {}
        for inner in frame.inner:
            given.setdefault(inner.name, []).append(inner)
        handed: list[Any] = []
        calls = {
            self._modules[name]: _giving(frames, change, handed) for name, frames in given.items()
        }
        call = self._modules[frame.name]._call_impl
        args, kwargs = mapped(frame.args, change), mapped(frame.kwargs, change)
        with _called_as(calls), inside or nullcontext():
            output = call(*args, **kwargs)
        return [output, *handed]


def _giving(
    frames: Sequence[Frame], change: Callable[[Any], Any], handed: list[Any]
) -> Callable[..., Any]:
    """A module's calls that give what was recorded, one after the other, instead of running; what they are
    handed goes into `handed`."""
    left = iter([(frame, *mapped((frame.output, frame.written), change)) for frame in frames])

    def call(*args: Any, **kwargs: Any) -> Any:
        frame, output, written = next(left)
        writes = frame.in_place is not None or frame.written
        handed.append(mapped([args, kwargs], copy_of) if writes else [args, kwargs])
        if frame.raised is not None:
            raise frame.raised
        taken = _by_place(args, kwargs)
        for place, value in written.items():
            taken[place].copy_(value)
        if frame.in_place is None:
            return output
        given_back = taken[frame.in_place]
        return given_back.copy_(output) if isinstance(given_back, Tensor) else output

    return call
