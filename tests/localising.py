"""Run on the simulated NPU, as a process of its own: plants faults in its kernels, one after the other, and
prints, a JSON line each, what localisation makes of them.

    python localising.py ARCHITECTURE PLAN...    PLAN: aten::op:N:KIND, cure, or clean:SEED for random
    switches
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kit.devices import select_device
from kit.explain.battery import probe_arithmetic
from kit.explain.cure import Questions, by_own_error, smallest_passing
from kit.explain.elsewhere import on_the_cpu, switched
from kit.explain.localise import behaviours_of, first_bad, localise, running
from kit.explain.wrong_operator import (
    SCRIPT,
    TENSORS,
    Judge,
    operators_of,
    script_of,
    smallest,
    tensors_file,
)
from kit.models.families.torchvision_ops import declare_missing_ops, without_torchvision

DECLARED = (
    declare_missing_ops()
)  # a torchvision of another build than torch takes timm down with it
DEVICE = select_device("npu:0")
from torch_npu import _arithmetic, _faults, _tensor  # noqa: E402, TID251
from torch_npu._switches import OnCall  # noqa: E402, TID251

with without_torchvision():
    from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration
import timm  # noqa: E402

PLAIN = _arithmetic.SWITCHES


def switch(plan: OnCall | None, **switches: Any) -> None:
    """What the environment would have set at the import."""
    _arithmetic.SWITCHES = replace(PLAIN, **switches)
    _faults._PLANT = _faults._of(plan)
    _tensor._plans.clear()


def architecture(name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model of random weights, every bias of which has an effect, and its input."""
    torch.manual_seed(0)
    if name in ("bert", "t5"):
        ids = torch.randint(2, 90, (1, 17))
        if name == "bert":
            sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4}
            made = BertModel(
                BertConfig(vocab_size=99, layer_norm_eps=1e-5, num_attention_heads=4, **sizes)
            )
            inputs = {"input_ids": ids}
        else:
            sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 3, "num_heads": 4}
            made = T5ForConditionalGeneration(T5Config(vocab_size=99, **sizes))
            inputs = {"input_ids": ids, "decoder_input_ids": torch.tensor([[0, 5, 7]])}
    else:
        made = timm.create_model(name).eval()
        inputs = {
            "x": torch.rand(1, 3, 64, 64) if "vit" not in name else torch.rand(1, 3, 224, 224)
        }
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return made.eval(), inputs


def forward(model: Any, inputs: Any) -> dict[str, Any]:
    DEVICE.synchronize()
    return {"output": model(**inputs)}


class Owners(TorchDispatchMode):
    """Which module is running at every call of an operator, with no fault planted."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.calls: dict[str, list[str]] = {}
        self.running: list[str] = []
        for name, module in model.named_modules():
            if not isinstance(module, torch.nn.Identity | torch.nn.Dropout):
                module.register_forward_pre_hook(lambda *_, name=name: self.running.append(name))
                module.register_forward_hook(lambda *_: self.running.pop() and None)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.setdefault(func._schema.name, []).append(self.running[-1])
        return func(*args, **(kwargs or {}))


def owners(model: Any, inputs: Any) -> dict[str, list[str]]:
    switch(None)
    there = copy.deepcopy(model).to("npu:0")
    fed = {name: tensor.to("npu:0") for name, tensor in inputs.items()}
    with torch.no_grad(), Owners(there) as found:
        there(**fed)
    return found.calls


def script_ends(folder: Path, plan: str) -> list[int]:
    """Exit codes of the script: with the fault in every call of the operator, and on a healthy device."""
    operator, _, kind = plan.rsplit(":", 2)
    codes = []
    for planted in (f"{operator}:*:{kind}", ""):
        environment = {**os.environ, "SIM_NPU_PLANT": planted}
        command = [sys.executable, str(folder / SCRIPT)]
        codes.append(subprocess.run(command, env=environment, capture_output=True).returncode)
    return codes


def cured(model: Any, inputs: Any) -> dict[str, Any]:
    """With HF32 products: the smallest set of modules found that halves the error when run strictly."""
    switch(None)
    allowed = {"conv.allow_hf32": True, "matmul.allow_hf32": True}
    DEVICE.put_flags(allowed)
    there = copy.deepcopy(model).to("npu:0")
    fed = {name: tensor.to("npu:0") for name, tensor in inputs.items()}
    behaviours = behaviours_of(probe_arithmetic(DEVICE))
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        calls = running(forward, there, fed)
        layers = localise(
            forward, model, inputs, calls, behaviours, dtype=torch.float32, folder=Path(scratch)
        )
        golden = forward(model, inputs)["output"].last_hidden_state

    def strict(on: bool) -> None:
        DEVICE.put_flags(dict.fromkeys(allowed, not on))

    def error(otherwise: AbstractContextManager[None]) -> float:
        with torch.no_grad(), otherwise:
            output = forward(there, fed)["output"].last_hidden_state.cpu()
        return float((output - golden).norm() / golden.norm())

    def strictly(names: Sequence[str]) -> float:
        return error(switched(there, names, strict))

    ordered, plain = by_own_error(layers), strictly([])
    questions = Questions(lambda names: strictly(names) <= plain / 2, 40)
    names = smallest_passing(ordered, questions)
    told = {"names": names, "of": len(ordered), "asked": questions.asked, "plain": plain}
    told |= {"error": strictly(names), "all": strictly(ordered)}
    told["cpu"] = error(on_the_cpu(there, ordered))
    DEVICE.put_flags(allowed | {"matmul.allow_hf32": False})
    return told


def found(model: Any, inputs: Any, plan: str, *, scripts: bool) -> dict[str, Any]:
    switches: dict[str, Any] = {}
    planted = None
    if plan.startswith("clean:"):
        draw = random.Random(plan)
        switches = {
            "bits": draw.choice([None, *range(7, 24)]),
            "rounding": draw.choice(["nearest", "zero"]),
            "gelu": draw.choice(["erf", "tanh"]),
            "accumulation": draw.choice(["fp32", "fp64"]),
            "block": draw.choice([None, 1, 4, 16, 64]),
        }
    else:
        operator, number, kind = plan.rsplit(":", 2)
        planted = OnCall(operator, int(number.rstrip("+")), number.endswith("+"), kind)
    switch(None, **switches)
    behaviours = behaviours_of(probe_arithmetic(DEVICE))
    switch(planted, **switches)
    there = copy.deepcopy(model).to("npu:0")
    fed = {name: tensor.to("npu:0") for name, tensor in inputs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        calls = running(forward, there, fed)
        layers = localise(
            forward, model, inputs, calls, behaviours, dtype=torch.float32, folder=folder
        )
        bad = first_bad(layers)
        told: dict[str, Any] = {
            "plan": plan,
            "switches": switches,
            "skipped": sorted({layer.skipped for layer in layers if layer.skipped}),
            "bad": bad and [bad.name, bad.kind, bad.number, bad.error and bad.error.over_band],
        }
        if bad is None or planted is None:
            return told
        operators = operators_of(lambda: forward(there, fed), there, (bad.name, bad.number))
        judge = Judge(behaviours, 2.0**-24)
        wrong = judge.worst(operators)
        alone = smallest(wrong, judge, "npu:0", torch.float32) if wrong else None
        told["operator"] = wrong and wrong.call.name
        told["bytes"] = alone and alone.call.bytes
        if alone and scripts:
            script = script_of(alone, "npu:0", torch.float32, {"conv.allow_hf32": True})
            (folder / SCRIPT).write_text(script)
            (folder / TENSORS).write_bytes(tensors_file(alone))
            told["codes"] = script_ends(folder, plan)
    return told


if __name__ == "__main__":
    scripts = "--scripts" in sys.argv
    name, *plans = [argument for argument in sys.argv[1:] if argument != "--scripts"]
    made, taken = architecture(name)
    of = owners(made, taken)
    for each in plans:
        if each == "cure":
            print(json.dumps(cured(made, taken)), flush=True)
            continue
        operator, _, rest = each.rpartition(":")[0].rpartition(":")
        ran, at = of.get(operator, []), int(rest.rstrip("+")) - 1 if operator else 0
        expected = ran[at] if at < len(ran) else None
        told = {"planted": operator, "expected": expected}
        print(json.dumps(told | found(made, taken, each, scripts=scripts)), flush=True)
