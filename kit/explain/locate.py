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
from kit.explain.localise import Layer, behaviours_of, first_bad, localise
from kit.explain.values import on_cpu
from kit.explain.wrong_operator import (
    Judge,
    OperatorCall,
    WrongOperator,
    operators_of,
    smallest,
)
from kit.models.adapter import Adapter
from kit.run.load_run import LoadedRun
from kit.run.passes import to_device
from kit.run.placement import move
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


def locate(
    adapter: Adapter, again: LoadedRun, run: FinishedRun, device: Device, folder: Path
) -> Localised:
    """Watch one forward on the run's device, and look into the first bad module.

    The model, which may come in fp64, is the reference afterwards: with the weights as they were cast.
    `folder` takes what memory should not. Raises UntrustedError where the device's weights are not those
    sent there.
    """
    dtype = getattr(torch, run.arguments.dtype)
    model, inputs = again.model.float(), again.inputs
    cast = cast_weights(model, dtype)
    on_device = copy.deepcopy(model)
    move(on_device, again.loaded.tied, device, cast, again.loaded.fingerprint)
    fed = to_device(inputs, device, dtype)
    probed = run.device_proof.arithmetic
    behaviours = behaviours_of(probed) if probed else []

    def forward(module: nn.Module, taken: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        device.synchronize()
        return adapter.forward(module, taken)

    as_fed = {
        name: on_cpu(tensor.to(dtype) if tensor.is_floating_point() else tensor)
        for name, tensor in inputs.items()
    }
    both = as_fed, fed
    layers = localise(
        forward, model.float(), on_device, both, behaviours, dtype=dtype, folder=folder
    )
    bad = first_bad(layers)
    if bad is None:
        return Localised(layers=layers, bad=None, operators=[], wrong=None, alone=None)
    operators = operators_of(lambda: forward(on_device, fed), on_device, (bad.name, bad.number))
    judge = Judge(behaviours, torch.finfo(dtype).eps / 2)
    wrong = judge.worst(operators)
    alone = smallest(wrong, judge, device.spec, dtype) if wrong else None
    return Localised(layers=layers, bad=bad, operators=operators, wrong=wrong, alone=alone)
