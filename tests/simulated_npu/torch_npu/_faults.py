"""What tests plant: wrong results, NaNs, errors, noise and falls back to the CPU.

`hooks_of` is asked once an operator; an operator that no switch names gets no hooks and costs
nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import _arithmetic, _caches, _clock, _operators, _planted
from ._switches import SWITCHES, OnCall

Change = Callable[[torch.Tensor], torch.Tensor]
_Instead = Callable[[Any, list[Any], dict[str, Any]], _planted.Call]

_STDERR = 2
_SILENCERS = ("TORCH_NPU_DISABLED_WARNING", "TORCH_NPU_WARNING_DISABLE")


@dataclass
class Hooks:
    """What to do around every call of one operator."""

    before: list[Callable[[], None]]
    after: list[Callable[[], Change | None]]
    """Each is asked once a call for the change to make to the result, if it is this call's turn."""
    instead: Callable[[], _Instead | None] | None = None
    """Asked once a call for what to compute instead, if it is this call's turn."""

    def call(self, func: Any, args: list[Any], kwargs: dict[str, Any]) -> _planted.Call:
        """What this call computes."""
        instead = self.instead() if self.instead else None
        return instead(func, args, kwargs) if instead else (func, args, kwargs)

    def change(self, result: Any, *, in_place: bool) -> Any:
        """The result after every change that is due; `in_place`: it must stay the same tensor."""
        for hook in self.after:
            change = hook()
            if change is not None:
                result = _changed(result, change, in_place)
        return result


class _Planted:
    """One switch and how many calls of its operator there were; all overloads count together."""

    def __init__(self, plan: OnCall) -> None:
        _operators.require_on_device(plan.op)
        self.plan = plan
        self.calls = 0
        self._since = 0

    def names(self, name: str, overload: str) -> bool:
        return self.plan.op in (name, overload)

    def is_due(self, *, of_a_forward: bool = False) -> bool:
        if of_a_forward and self._since != _clock.synchronized[0]:
            self.calls, self._since = 0, _clock.synchronized[0]
        self.calls += 1
        call = self.plan.call
        return call is None or call == self.calls or (self.plan.onwards and call < self.calls)


def _of(plan: OnCall | None) -> _Planted | None:
    return None if plan is None else _Planted(plan)


_FAULT = _of(SWITCHES.fault)
_FAULT_SCALE = float((SWITCHES.fault and SWITCHES.fault.argument) or 1.05)
_NAN = _of(SWITCHES.nan)
_RAISE = _of(SWITCHES.raise_)
_ASYNC = _of(SWITCHES.async_)
_ABORT = _of(SWITCHES.abort)
_PLANT = _of(SWITCHES.plant)
if _PLANT and _PLANT.plan.argument not in {*_planted.CALLS, *_planted.RESULTS}:
    raise ValueError(f"SIM_NPU_PLANT: there is no kind {_PLANT.plan.argument!r}")
if SWITCHES.cache and SWITCHES.cache[1] not in _caches.KINDS:
    raise ValueError(f"SIM_NPU_CACHE: there is no kind {SWITCHES.cache[1]!r}")
_CACHES = _caches.Caches(*SWITCHES.cache) if SWITCHES.cache else None
for _op in SWITCHES.fallback:
    _operators.require_on_device(_op)
_NOISE = torch.Generator().manual_seed(int.from_bytes(os.urandom(7), "little"))


def hooks_of(name: str, overload: str) -> Hooks | None:
    """The hooks of one operator, say `aten::add` in its overload `aten::add.Tensor`."""
    hooks = Hooks([], [])
    for op in SWITCHES.fallback.keys() & {name, overload}:
        hooks.before.append(_fall_back_once(overload, SWITCHES.fallback[op]))
    if _RAISE and _RAISE.names(name, overload):
        hooks.before.append(_raise_when_due(_RAISE))
    if _ASYNC and _ASYNC.names(name, overload):
        hooks.before.append(_fail_later_when_due(_ASYNC))
    if _ABORT and _ABORT.names(name, overload):
        hooks.before.append(_abort_when_due(_ABORT))
    if _FAULT and _FAULT.names(name, overload):
        hooks.after.append(_when_due(_FAULT, _scaled))
    if _NAN and _NAN.names(name, overload):
        hooks.after.append(_when_due(_NAN, _with_nan))
    if _PLANT and _PLANT.names(name, overload):
        _plant(_PLANT, hooks)
    if _CACHES and name == "aten::cat":
        hooks.instead = lambda: _CACHES.instead
    if SWITCHES.nonrepeatable and _arithmetic.is_matmul(name):
        hooks.after.append(lambda: _with_noise)
    return hooks if hooks.before or hooks.after or hooks.instead else None


def _plant(planted: _Planted, hooks: Hooks) -> None:
    """A wrong kernel in the place of the right one, or what spoils its result."""
    kind = str(planted.plan.argument)
    if (instead := _planted.CALLS.get(kind)) is not None:
        hooks.instead = lambda: instead if planted.is_due(of_a_forward=True) else None
    else:
        change = _planted.RESULTS[kind]
        hooks.after.append(lambda: change if planted.is_due(of_a_forward=True) else None)


def _fall_back_once(overload: str, due: int) -> Callable[[], None]:
    """The line that torch_npu's C++ writes, once an operator and process, past Python's stderr."""
    calls = 0

    def tell() -> None:
        nonlocal calls
        calls += 1
        if calls != due or any(os.environ.get(name) == "1" for name in _SILENCERS):
            return
        now = time.time()
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
        text = SWITCHES.fallback_text or (
            f"[W{stamp} VariableFallbackKernel.cpp:230] Warning: CAUTION: The operator "
            "'OP' is not currently supported on the NPU backend and will fall back to run "
            "on the CPU. This may have performance implications. (function npu_cpu_fallback)"
        )
        os.write(_STDERR, f"{text.replace('OP', overload)}\n".encode())

    return tell


def _raise_when_due(planted: _Planted) -> Callable[[], None]:
    def check() -> None:
        if planted.is_due():
            raise RuntimeError(planted.plan.argument)

    return check


def _fail_later_when_due(planted: _Planted) -> Callable[[], None]:
    def check() -> None:
        if planted.is_due():
            _clock.fail(str(planted.plan.argument))

    return check


def _abort_when_due(planted: _Planted) -> Callable[[], None]:
    def check() -> None:
        if planted.is_due():
            os.write(_STDERR, f"{planted.plan.argument}\n".encode())
            os.abort()

    return check


def _when_due(planted: _Planted, change: Change) -> Callable[[], Change | None]:
    return lambda: change if planted.is_due() else None


def _scaled(result: torch.Tensor) -> torch.Tensor:
    return result * _FAULT_SCALE


def _with_nan(result: torch.Tensor) -> torch.Tensor:
    spoilt = result.clone()
    spoilt[(0,) * spoilt.dim()] = float("nan")
    return spoilt


def _with_noise(result: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(result.shape, generator=_NOISE, dtype=torch.float32)
    return (result * (1 + SWITCHES.nonrepeatable * noise)).to(result.dtype)


def _changed(result: Any, change: Change, in_place: bool) -> Any:
    """`result` with its first floating-point tensor changed."""
    several = isinstance(result, (tuple, list))
    parts = list(result) if several else [result]
    for position, part in enumerate(parts):
        if isinstance(part, torch.Tensor) and part.is_floating_point():
            changed = change(part)
            parts[position] = part.copy_(changed) if in_place else changed
            return type(result)(parts) if several else parts[0]
    raise ValueError("a SIM_NPU_ switch names an operator without a floating-point result")
