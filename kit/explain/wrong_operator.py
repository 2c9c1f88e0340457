"""The operator that is wrong inside a module, and logs/wrong_operator/: a script that shows it alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn

from kit.arithmetic.behaviours import Behaviour
from kit.arithmetic.emulation import Emulator
from kit.arithmetic.interception import EveryOperator
from kit.explain.cuts import cuts
from kit.explain.frames import Frame, watched
from kit.explain.operators import Products
from kit.explain.own_error import OwnError, own_errors, worst_of
from kit.explain.values import mapped, on_cpu, tensors_of, widened

SCRIPT, TENSORS = "replay.py", "operator.pt"
LARGEST_BYTES = 1 << 20
# An operator without a CPU kernel, or without a float64 one, cannot be judged here.
_CANNOT = (RuntimeError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True)
class OperatorCall:
    """One operator as it ran on the device, on the CPU: what it took and what it gave."""

    operator: Any
    args: Any
    kwargs: Any
    output: Any

    @property
    def name(self) -> str:
        """Such as aten::addmm."""
        return str(self.operator._schema.name)

    @property
    def shapes(self) -> list[list[int]]:
        """Of the tensors that it took."""
        return [list(tensor.shape) for tensor in tensors_of(list(self.args))]

    @property
    def bytes(self) -> int:
        """Size of what it took."""
        taken = tensors_of([self.args, self.kwargs])
        return sum(tensor.numel() * tensor.element_size() for tensor in taken)


@dataclass(frozen=True, kw_only=True)
class WrongOperator:
    """The operator with the largest error of its own beside what is explained; `errors`: of each of its
    results."""

    call: OperatorCall
    errors: Sequence[OwnError]

    @property
    def error(self) -> OwnError:
        """Of the worst result."""
        return worst_of(self.errors)


class _Recorder(EveryOperator):
    """Keeps what runs in one call of one module, without the modules that it calls."""

    def __init__(self, key: tuple[str, int]) -> None:
        super().__init__()
        self.calls: list[OperatorCall] = []
        self._key = key
        self._running: list[tuple[str, int]] = []
        self._copying = False

    def began(self, frame: Frame) -> None:
        """A module is called."""
        self._running.append(frame.key)

    def ended(self, frame: Frame) -> None:
        """It has ended."""
        self._running.pop()

    def copying(self, on: bool) -> None:
        """What runs is not the model's, or is again."""
        self._copying = on

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._copying or not self._running or self._running[-1] != self._key:
            return func(*args, **kwargs)
        taken = mapped(args, on_cpu), mapped(kwargs, on_cpu)
        output = func(*args, **kwargs)
        self.calls.append(OperatorCall(func, *taken, mapped(output, on_cpu)))
        return output


def operators_of(
    run: Callable[[], object], model: nn.Module, key: tuple[str, int]
) -> list[OperatorCall]:
    """The operators of one call (module, number) of a forward on the device, which `run` runs."""
    recorder = _Recorder(key)
    watching = watched(model, recorder.ended, recorder.began, recorder.copying)
    with torch.no_grad(), watching, recorder:
        run()
    return recorder.calls


class Judge:
    """Sets operators beside the same in fp64, and beside what the active behaviours predict of them."""

    def __init__(self, behaviours: Sequence[Behaviour], unit: float) -> None:
        self._behaviours, self._unit = behaviours, unit

    def judged(self, call: OperatorCall) -> WrongOperator | None:
        """None where it is right, for what computes nothing, or cannot be run on the CPU."""
        found = [tensor.double() for tensor in tensors_of([call.output])]
        if not found or not list(tensors_of([call.args, call.kwargs])):
            return None
        try:
            with torch.no_grad():
                exact = _run(call, widened)
                products = Products()
                with Emulator(nn.Module()).running(self._behaviours, seen=products.seen):
                    emulated = _run(call, torch.clone)
            errors = own_errors(
                found,
                [tensor.double() for tensor in exact],
                [tensor.double() for tensor in emulated],
                summands=products.longest,
                unit=self._unit,
            )
        except _CANNOT:
            return None
        wrong = WrongOperator(call=call, errors=errors)
        return wrong if wrong.error.unexplained else None

    def worst(self, calls: Sequence[OperatorCall]) -> WrongOperator | None:
        """The one whose error leaves the band furthest; None where none does."""
        wrong = filter(None, map(self.judged, calls))
        return max(wrong, key=lambda each: each.error.over_band, default=None)


def _run(call: OperatorCall, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    result = call.operator(*mapped(call.args, change), **mapped(call.kwargs, change))
    return list(tensors_of([result]))


def alone(call: OperatorCall, device: str, dtype: torch.dtype) -> OperatorCall:
    """The same operator on the same tensors, on the device again, on its own."""

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    with torch.no_grad():
        output = call.operator(*mapped(call.args, there), **mapped(call.kwargs, there))
    return OperatorCall(call.operator, call.args, call.kwargs, mapped(output, on_cpu))


def smallest(
    wrong: WrongOperator, judge: Judge, device: str, dtype: torch.dtype
) -> WrongOperator | None:
    """The fault on at most 1 MB of what the operator took, where it survives that, else on all of it; None
    where it does not show when the operator runs alone."""
    shown = None
    for args in (wrong.call.args, *cuts(wrong.call.name, wrong.call.args)):
        smaller = OperatorCall(wrong.call.operator, args, wrong.call.kwargs, None)
        if shown is not None and smaller.bytes > LARGEST_BYTES:
            continue
        if again := judge.judged(alone(smaller, device, dtype)):
            shown = again
            if smaller.bytes <= LARGEST_BYTES:
                break
        elif shown is None:
            return None
    return shown


def script_of(
    wrong: WrongOperator, device: str, dtype: torch.dtype, flags: Mapping[str, Any]
) -> str:
    """The script, under 60 lines: it needs torch and the device's plugin, and the tensors beside it."""
    template = resources.files("kit.explain").joinpath("replay.txt").read_text("utf-8")
    values = {
        "OPERATOR": str(wrong.call.operator),
        "DEVICE": device,
        "DTYPE": str(dtype),
        "FLAGS": repr({name: value for name, value in flags.items() if isinstance(value, bool)}),
        "EXPLAINED": ", ".join(
            f"{each.allowed.whole:.6g} {each.allowed.worst_row:.6g}" for each in wrong.errors
        ),
    }
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def tensors_file(wrong: WrongOperator) -> bytes:
    """What the operator takes, as torch.load(weights_only=True) reads it."""
    content = io.BytesIO()
    # A layout or a device changes no value, and a file of tensors alone cannot hold it.
    kwargs = {
        name: value
        for name, value in wrong.call.kwargs.items()
        if not isinstance(value, (torch.memory_format, torch.layout, torch.device))
    }
    taken = {"args": list(wrong.call.args), "kwargs": kwargs}
    torch.save(mapped(taken, torch.clone), content)
    return content.getvalue()
