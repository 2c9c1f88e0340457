"""Which module computes something else than it should.

The device's forward is watched, module by module, while it runs. Each module is then run again on the CPU,
on what it took on the device: in fp32, from which its own error is measured, and under the arithmetic that
the probe found the device to have, which says how large that may be. The modules that it calls do not run
again: they give what they gave on the device, and what they are handed is compared as the output is. So an
error belongs to the one module whose own operators made it, and every operator runs once a side, however
deep modules are nested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kit.arithmetic.behaviours import BEHAVIOURS, CONVOLUTIONS, MATMULS, Behaviour
from kit.arithmetic.emulation import Emulator
from kit.arithmetic.rounding import Rounding
from kit.evidence.types.arithmetic import ProbedArithmetic, ProductArithmetic
from kit.explain.frames import Frame, Replica, watched
from kit.explain.kept import Kept
from kit.explain.operators import Products
from kit.explain.own_error import OwnError, exact_error, own_error, relative_l2
from kit.explain.values import copy_of, numbers_and_exact_of, numbers_of

Forward = Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]
Calls = Callable[[Callable[[Frame], None]], None]
"""The module calls of one forward on the device: each goes to what it is given when it ends, inner ones
first."""
_CANNOT = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, StopIteration)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of one module, in the order in which they ended. Without `error` it was not to be checked,
    and `skipped` says why."""

    name: str
    number: int
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    accumulated: float | None
    """Relative L2 of the device's output against the CPU's fp32 of the whole forward; None where the CPU
    has no such call."""
    error: OwnError | None
    skipped: str


def behaviours_of(probed: ProbedArithmetic) -> list[Behaviour]:
    """What the probe found the device to do to fp32 that a CPU does not."""
    found = []
    for name, product, operators in (
        ("probed_convolution", probed.convolution, CONVOLUTIONS),
        ("probed_matmul", probed.matmul, MATMULS),
    ):
        rounding = _rounding(product)
        if rounding is not None:
            found.append(
                Behaviour(name=name, operators=operators, rounding=rounding, source="the probe")
            )
    return [*found, BEHAVIOURS["gelu_tanh"]] if probed.gelu == "tanh" else found


def _rounding(product: ProductArithmetic | None) -> Rounding | None:
    if product is None or product.operand_bits is None or product.rounding == "none":
        return None
    return Rounding(
        mantissa_bits=product.operand_bits,
        toward_zero=product.rounding == "towards_zero",
        fp16_range=product.wide_range is False,
    )


def running(forward: Forward, on_device: nn.Module, inputs: Mapping[str, Tensor]) -> Calls:
    """The calls of a model that runs on the device now."""

    def calls(ended: Callable[[Frame], None]) -> None:
        with watched(on_device, ended):
            forward(on_device, inputs)

    return calls


def localise(
    forward: Forward,
    reference: nn.Module,
    inputs: Mapping[str, Tensor],
    calls: Calls,
    behaviours: Sequence[Behaviour],
    *,
    dtype: torch.dtype,
    folder: Path,
) -> list[Layer]:
    """Every call of every module of one forward. `reference` is on the CPU, in fp32 and with the very
    weights that the device computes with, and so are its `inputs`; `calls` are the device's; `folder`
    takes the activations that memory should not."""
    layers: list[Layer] = []
    check = _Check(reference, behaviours, torch.finfo(dtype).eps / 2)
    with Kept(folder) as kept, torch.no_grad():
        with watched(reference, lambda frame: _keep(kept, frame), taken=False):
            forward(reference, inputs)
        calls(lambda frame: layers.append(check.layer(frame, kept)))
    return layers


def first_bad(layers: Sequence[Layer]) -> Layer | None:
    """The first whose own error leaves the predicted band; None where every one is explained."""
    return next((layer for layer in layers if layer.error and layer.error.unexplained), None)


def _keep(kept: Kept, frame: Frame) -> None:
    for position, tensor in enumerate(numbers_of(frame.output)):
        kept.keep((*frame.key, position), tensor)


class _Check:
    """Runs single modules again."""

    def __init__(self, reference: nn.Module, behaviours: Sequence[Behaviour], unit: float) -> None:
        self._replica = Replica(reference)
        self._arithmetic = Emulator(reference).arithmetic(behaviours)
        self._unit = unit

    def layer(self, frame: Frame, kept: Kept) -> Layer:
        found = numbers_of(frame.output)
        error = None
        skipped = next((each.lost for each in (frame, *frame.inner) if each.lost), "")
        try:
            if frame.raised is not None:
                raise RuntimeError(f"it raised {type(frame.raised).__name__}")
            if not skipped:
                error = self._own_error(frame)
        except _CANNOT as failure:
            skipped = f"{type(failure).__name__}: {failure}".partition("\n")[0]
        return Layer(
            name=frame.name,
            number=frame.number,
            kind=type(self._replica.module(frame.name)).__name__,
            shapes=tuple(tuple(tensor.shape) for tensor in found),
            accumulated=_accumulated(frame, found, kept),
            error=error,
            skipped=skipped,
        )

    def _own_error(self, frame: Frame) -> OwnError:
        products = Products()
        fired: Counter[str] = Counter()
        emulated = self._made(frame, self._arithmetic.running(products.seen, fired))
        reference = self._made(frame) if fired else emulated
        numbers, exact = numbers_and_exact_of(frame.made)
        if not (numbers or exact):
            raise ValueError("it gives nothing that can be compared")
        error = own_error(
            numbers, reference[0], emulated[0], summands=products.longest, unit=self._unit
        )
        if (
            error.unexplained
            or not (other := exact_error(exact, reference[1], emulated[1])).unexplained
        ):
            return error
        if products.exact:
            return other
        raise ValueError(
            "its integers or booleans differ, as rounding or random numbers in it can make them"
        )

    def _made(
        self, frame: Frame, inside: AbstractContextManager[object] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        return numbers_and_exact_of(self._replica.run(frame, copy_of, inside))


def _accumulated(frame: Frame, found: Sequence[Tensor], kept: Kept) -> float | None:
    """The worst of its tensors; None where the reference has none of that call."""
    distances = []
    for position, tensor in enumerate(found):
        reference = kept.get((*frame.key, position))
        if reference is None:
            return None
        distances.append(relative_l2(tensor, reference))
    return max(distances, default=None)
