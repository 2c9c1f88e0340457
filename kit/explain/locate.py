"""The first bad module of a run's forward, and its wrong operator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from kit.arithmetic.behaviours import Behaviour
from kit.devices import Device
from kit.evidence.types.run import FinishedRun
from kit.explain.localise import Calls, Layer, behaviours_of, first_bad, localise, running
from kit.explain.recorded import Recording
from kit.explain.values import on_cpu
from kit.explain.wrong_operator import (
    Judge,
    OperatorCall,
    WrongOperator,
    operators_of,
    smallest,
)
from kit.models.adapter import Adapter
from kit.run.passes import to_device
from kit.run.placement import move
from kit.run.reference import LoadedRun
from kit.weights.casting import cast_weights


@dataclass(frozen=True, kw_only=True)
class Localised:
    """Every module call, the first whose own error is unexplained, the operators that ran in it, and of
    them the wrong one, reduced and shown to be wrong alone; None where there is none of it. `recorded`:
    the device was not at hand, so that no operator ran there alone."""

    layers: list[Layer]
    bad: Layer | None = None
    operators: list[OperatorCall] = field(default_factory=list)
    wrong: WrongOperator | None = None
    alone: WrongOperator | None = None
    recorded: bool = False


@dataclass(frozen=True, kw_only=True)
class DeviceSide:
    """The run's model and input on its device."""

    device: Device
    model: nn.Module
    inputs: dict[str, Tensor]


def device_side(again: LoadedRun, run: FinishedRun, device: Device) -> DeviceSide:
    """A copy of the model there. The one on the CPU, which may come in fp64, is the reference afterwards:
    with the weights as they were cast. Raises UntrustedError where the device's weights are not those sent
    there."""
    dtype = getattr(torch, run.arguments.dtype)
    cast = cast_weights(again.model.float(), dtype)
    model = copy.deepcopy(again.model)
    again.model.float()
    move(model, again.loaded.tied, device, cast, again.loaded.fingerprint)
    return DeviceSide(device=device, model=model, inputs=to_device(again.inputs, device, dtype))


def locate(
    adapter: Adapter,
    again: LoadedRun,
    side: DeviceSide | Recording,
    run: FinishedRun,
    folder: Path,
) -> Localised:
    """Look at every module call of one forward on the run's device, and into the first bad module: of a
    recording as far as that goes without the device. `folder` takes what memory should not."""
    if isinstance(side, Recording):
        return _locate_recorded(adapter, again, side, run, folder)
    return _locate_running(adapter, again, side, run, folder)


def _locate_running(
    adapter: Adapter, again: LoadedRun, side: DeviceSide, run: FinishedRun, folder: Path
) -> Localised:
    dtype = getattr(torch, run.arguments.dtype)

    def forward(module: nn.Module, taken: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        side.device.synchronize()
        return adapter.forward(module, taken)

    calls = running(forward, side.model, side.inputs)
    layers = _layers(adapter, again, _as_fed(again, run), calls, run, folder)
    bad = first_bad(layers)
    if bad is None:
        return Localised(layers=layers)
    operators = operators_of(
        lambda: forward(side.model, side.inputs), side.model, (bad.name, bad.number)
    )
    judge = Judge(_behaviours(run), torch.finfo(dtype).eps / 2)
    wrong = judge.worst(operators)
    alone = smallest(wrong, judge, side.device.spec, dtype) if wrong else None
    return Localised(layers=layers, bad=bad, operators=operators, wrong=wrong, alone=alone)


def _locate_recorded(
    adapter: Adapter, again: LoadedRun, recording: Recording, run: FinishedRun, folder: Path
) -> Localised:
    """The operators are those of the CPU."""
    cast_weights(again.model.float(), getattr(torch, run.arguments.dtype))
    again.model.float()
    fed = _as_fed(again, run)
    calls = recording.calls(adapter.forward, again.model, fed)
    layers = _layers(adapter, again, fed, calls, run, folder)
    bad, operators = first_bad(layers), []
    if bad is not None:
        operators = operators_of(
            lambda: adapter.forward(again.model, fed), again.model, (bad.name, bad.number)
        )
    return Localised(layers=layers, bad=bad, operators=operators, recorded=True)


def _layers(
    adapter: Adapter,
    again: LoadedRun,
    fed: Mapping[str, Tensor],
    calls: Calls,
    run: FinishedRun,
    folder: Path,
) -> list[Layer]:
    return localise(
        adapter.forward,
        again.model,
        fed,
        calls,
        _behaviours(run),
        dtype=getattr(torch, run.arguments.dtype),
        folder=folder,
    )


def _behaviours(run: FinishedRun) -> list[Behaviour]:
    probed = run.device_proof.arithmetic
    return behaviours_of(probed) if probed else []


def _as_fed(again: LoadedRun, run: FinishedRun) -> dict[str, Tensor]:
    """The inputs for the reference, with what the cast to the dtype of the run left of them."""
    dtype = getattr(torch, run.arguments.dtype)
    return {
        name: on_cpu(tensor.to(dtype) if tensor.is_floating_point() else tensor)
        for name, tensor in again.inputs.items()
    }
