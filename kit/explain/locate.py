"""compare_accuracy.py --localize: the first bad module of a run's forward, and its wrong operator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kit.devices import Device
from kit.evidence.logs import LAYERS, WRONG_OPERATOR, Logs
from kit.evidence.types.run import FinishedRun
from kit.explain.layers import layers_csv
from kit.explain.localise import Layer, behaviours_of, first_bad, localise
from kit.explain.values import on_cpu
from kit.explain.wrong_operator import (
    SCRIPT,
    TENSORS,
    Judge,
    OperatorCall,
    WrongOperator,
    operators_of,
    script_of,
    smallest,
    tensors_file,
)
from kit.models.adapter import Adapter
from kit.run.passes import to_device
from kit.run.placement import move
from kit.weights.casting import cast_weights
from kit.weights.load import LoadedWeights


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
    adapter: Adapter,
    model: nn.Module,
    loaded: LoadedWeights,
    inputs: Mapping[str, Tensor],
    run: FinishedRun,
    device: Device,
    folder: Path,
) -> Localised:
    """Watch one forward on the run's device, and look into the first bad module.

    `model` has the run's weights, on the CPU, and is the reference afterwards: with the weights as they
    were cast. `folder` takes what memory should not. Raises UntrustedError where the device's weights are
    not those sent there.
    """
    dtype = getattr(torch, run.arguments.dtype)
    cast = cast_weights(model, dtype)
    on_device = copy.deepcopy(model)
    move(on_device, loaded.tied, device, cast, loaded.fingerprint)
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


def write_located(logs: Logs, found: Localised, run: FinishedRun) -> None:
    """layers.csv, and wrong_operator/ where an operator is wrong alone."""
    logs.write_text(LAYERS, layers_csv(found.layers))
    if found.alone is None:
        return
    dtype = getattr(torch, run.arguments.dtype)
    script = script_of(found.alone, run.device.spec, dtype, run.precision.flags)
    logs.path(WRONG_OPERATOR).mkdir()
    logs.write_text(f"{WRONG_OPERATOR}/{SCRIPT}", script)
    logs.write_bytes(f"{WRONG_OPERATOR}/{TENSORS}", tensors_file(found.alone))


def located_lines(found: Localised) -> list[str]:
    """What the console and the log say of the first bad module."""
    if found.bad is None or found.bad.error is None:
        return ["no module's own error leaves what the device's arithmetic explains"]
    bad, error = found.bad, found.bad.error
    names = sorted({call.name for call in found.operators})
    lines = [
        f"FIRST BAD MODULE {bad.name} ({bad.kind}, call {bad.number}): its own error is "
        f"{error.own.whole:.3g}, {error.over_band:.3g} times what is explained; operators: "
        f"{', '.join(names) or 'unknown'}"
    ]
    if found.wrong is None:
        lines.append("  no single operator of it is to blame by itself")
    else:
        call = found.wrong.call
        shapes = ", ".join("x".join(map(str, shape)) for shape in call.shapes)
        lines.append(
            f"  the wrong operator is {call.name} of {shapes}: relative L2 "
            f"{found.wrong.error.own.whole:.3g}, at most {found.wrong.error.allowed.whole:.3g}"
        )
        if found.alone is None:
            lines.append("  alone, on the same tensors, it is right: no file shows it")
        else:
            lines.append(
                f"  {WRONG_OPERATOR}/{SCRIPT} shows it: exit code 1 while the fault is there"
            )
    return lines
