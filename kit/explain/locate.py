"""The first bad module of a run's forward, and its wrong operator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kit.devices import Device
from kit.evidence.types.run import FinishedRun
from kit.explain.localise import Layer, behaviours_of, first_bad, localise, running
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
    them the wrong one, reduced and shown to be wrong alone; None where there is none of it."""

    layers: list[Layer]
    bad: Layer | None
    operators: list[OperatorCall]
    wrong: WrongOperator | None
    alone: WrongOperator | None


@dataclass(frozen=True, kw_only=True)
class DeviceSide:
    """The run's model and input on its device."""

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
    return DeviceSide(model=model, inputs=to_device(again.inputs, device, dtype))


def locate(
    adapter: Adapter,
    again: LoadedRun,
    side: DeviceSide,
    run: FinishedRun,
    device: Device,
    folder: Path,
) -> Localised:
    """Watch one forward on the run's device, and look into the first bad module. `folder` takes what
    memory should not."""
    dtype = getattr(torch, run.arguments.dtype)
    probed = run.device_proof.arithmetic
    behaviours = behaviours_of(probed) if probed else []

    def forward(module: nn.Module, taken: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        device.synchronize()
        return adapter.forward(module, taken)

    as_fed = {
        name: on_cpu(tensor.to(dtype) if tensor.is_floating_point() else tensor)
        for name, tensor in again.inputs.items()
    }
    calls = running(forward, side.model, side.inputs)
    layers = localise(forward, again.model, as_fed, calls, behaviours, dtype=dtype, folder=folder)
    bad = first_bad(layers)
    if bad is None:
        return Localised(layers=layers, bad=None, operators=[], wrong=None, alone=None)
    operators = operators_of(
        lambda: forward(side.model, side.inputs), side.model, (bad.name, bad.number)
    )
    judge = Judge(behaviours, torch.finfo(dtype).eps / 2)
    wrong = judge.worst(operators)
    alone = smallest(wrong, judge, device.spec, dtype) if wrong else None
    return Localised(layers=layers, bad=bad, operators=operators, wrong=wrong, alone=alone)
