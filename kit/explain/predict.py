"""What to expect of a chip that is not at hand: the errors of its default, strict and fast arithmetic.

The model runs on the CPU in fp32, in fp64, and once under each arithmetic of the chip, emulated: HF32
convolutions and products, fp16 operands on the older chips, GELU by tanh. Whether real HF32 rounds to
nearest or truncates is not documented, so both are told. Every figure is PREDICTED: nothing ran on an
NPU, and no prediction is a PASS.

    python -m kit predict flan_t5_small --offline
    python -m kit predict all_minilm_l6_v2 --weights model.safetensors --chip 310p --json
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kit.devices import PRECISIONS, select_device
from kit.devices.precision import PrecisionName
from kit.entry import at_least, parser_of, path_given
from kit.errors import shown
from kit.explain.expected import npu_behaviours
from kit.models.adapter import Adapter
from kit.weights.arguments import add_download_arguments
from kit.weights.endpoints import mirror_list
from kit.weights.find_model import find_model
from kit.weights.sources import Located, locate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.accuracy.comparison import Comparison, Reference
    from kit.accuracy.spec import OutputSpec
    from kit.arithmetic.emulation import Emulator

CHIPS = ("910b", "910a", "310p")
_FP16_ONLY = CHIPS[1:]
_TRUNCATED = {name: f"{name}_truncated" for name in ("hf32_conv", "hf32_matmul")}

log = logging.getLogger("kit")


@dataclass(frozen=True, kw_only=True)
class PredictedOutput:
    """One output: relative L2 against the golden and against the CPU's fp32 (None: not computable)."""

    relative_l2_to_golden: float | None
    relative_l2_to_fp32: float | None
    within_limits: bool
    reasons: list[str]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One arithmetic of the chip. `overflowed` counts operands of products past fp16's largest number."""

    precision: str
    behaviours: list[str]
    overflowed: int
    within_limits: bool
    outputs: dict[str, PredictedOutput]


def main(arguments: Sequence[str]) -> int:
    """Predict, and tell. Returns 0; raises KitError."""
    options = _parse(arguments)
    mirrors = mirror_list(options.mirror)
    say = log.debug if options.json else log.info  # stdout is then one JSON document
    adapter = find_model(options.model, offline=options.offline, mirrors=mirrors, log=say)
    adapter.check_input(options.input)
    found = locate(
        adapter.info,
        path=options.weights or adapter.weights_at,
        beside=adapter.own_folder,
        offline=options.offline,
        mirrors=mirrors,
        timeout=options.download_timeout,
        to_load=True,
        log=say,
    )
    select_device("cpu")
    model, inputs, described, left_out = _loaded(adapter, found, options.input, options.seed)
    reference, predictions = predict(
        adapter, model, inputs, options.chip, options.precision or PRECISIONS, left_out
    )
    document = {
        "model": adapter.info.name,
        "chip": options.chip,
        "verdict": "PREDICTED",
        "random_weights": found.file is None,
        "input": described,
        "golden_reason": reference.golden_reason,
        "predictions": [asdict(each) for each in predictions],
    }
    if options.json:
        log.info(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _tell(document, predictions)
    return 0


def predict(
    adapter: Adapter,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    chip: str,
    precisions: Sequence[PrecisionName],
    left_out: Sequence[str] = (),
) -> tuple[Reference, list[Prediction]]:
    """The reference, and what each arithmetic of the chip is expected to give beside it. `model` is on the
    CPU and left in fp32; outputs `left_out` are not judged. Raises KitError as run_references()."""
    from kit.arithmetic.emulation import Emulator
    from kit.run.reference import run_references

    reference = run_references(adapter, model, inputs, "auto")
    shapes = {name: tuple(tensor.shape) for name, tensor in reference.outputs.items()}
    adapter = adapter.with_outputs(shapes)
    specs = {name: spec for name, spec in adapter.outputs.items() if name not in left_out}
    emulator = Emulator(model.float())
    predictions = []

    def run(precision: str, names: Sequence[str]) -> Prediction:
        outputs, fired, overflowed = _emulated(emulator, adapter, model, inputs, names)
        comparison = _compared(specs, reference, outputs)
        predictions.append(
            Prediction(
                precision=precision,
                behaviours=[name for name in names if fired[name]],
                overflowed=overflowed,
                within_limits=comparison.verdict == "PASS",
                outputs=_outputs(comparison),
            )
        )
        return predictions[-1]

    for precision in precisions:
        names = behaviours_of(chip, precision)
        fired = run(precision, names).behaviours
        if _TRUNCATED.keys() & set(fired):
            truncated = [_TRUNCATED.get(name, name) for name in names]
            run(f"{precision}, if HF32 truncates", truncated)
    return reference, predictions


def behaviours_of(chip: str, precision: PrecisionName) -> list[str]:
    """What a chip does under --precision, by its documented defaults."""
    expected = npu_behaviours(
        fp16_only=chip in _FP16_ONLY,
        conv_hf32=precision != "strict",
        matmul_hf32=precision == "fast",
        gelu_tanh=precision != "strict",
    )
    return [name for name, active in expected.active.items() if active]


def _emulated(
    emulator: Emulator,
    adapter: Adapter,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    names: Sequence[str],
) -> tuple[dict[str, Tensor], Mapping[str, int], int]:
    from kit.arithmetic.behaviours import BEHAVIOURS

    before = emulator.overflowed
    with emulator.running([BEHAVIOURS[name] for name in names]) as fired:
        outputs = adapter.every_output(model, inputs)
    return outputs, fired, emulator.overflowed - before


def _compared(
    specs: Mapping[str, OutputSpec], reference: Reference, outputs: Mapping[str, Tensor]
) -> Comparison:
    from kit.accuracy.comparison import compare
    from kit.accuracy.repeats import ASSUMED_REPEATABLE

    return compare(specs, reference, outputs, dict.fromkeys(outputs, ASSUMED_REPEATABLE))


def _outputs(comparison: Comparison) -> dict[str, PredictedOutput]:
    return {
        name: PredictedOutput(
            relative_l2_to_golden=output.truth.device.relative_l2 if output.truth else None,
            relative_l2_to_fp32=output.metrics.relative_l2 if output.metrics else None,
            within_limits=output.verdict == "PASS",
            reasons=[str(reason) for reason in output.reasons],
        )
        for name, output in comparison.outputs.items()
    }


def _loaded(
    adapter: Adapter, found: Located, value: str | None, seed: int
) -> tuple[nn.Module, dict[str, Tensor], str, list[str]]:
    """The model with its weights, its inputs, what those are, and the outputs of random heads."""
    from kit.run.heads import outputs_of_heads
    from kit.weights.load import load_weights

    model = adapter.build()
    paths = found.file.paths if found.file else []
    loaded = load_weights(adapter, model, paths, seed=seed)
    chosen = adapter.load_input(value, found.companions)
    inputs = dict(chosen.tensors)
    heads = outputs_of_heads(adapter, model, loaded.account, inputs, seed)
    return model, inputs, chosen.description, heads


def _tell(document: Mapping[str, Any], predictions: Sequence[Prediction]) -> None:
    log.info(f"PREDICTED for {shown(document['model'])} on a {document['chip']}; nothing ran there")
    log.info(f"input: {document['input']}")
    if document["random_weights"]:
        log.info("the weights are random, whose errors are often smaller than trained ones'")
    if document["golden_reason"]:
        log.info(f"no golden ({document['golden_reason']}): errors are against the CPU's fp32")
    for each in predictions:
        verdict = "within" if each.within_limits else "PAST"
        what = ", ".join(each.behaviours) or "fp32 as on the CPU"
        log.info(f"{each.precision} ({what}): PREDICTED {verdict} the limits")
        if each.overflowed:
            log.info(
                f"  {each.overflowed} operands of products are past 65504, fp16's largest number"
            )
        for name, output in each.outputs.items():
            figure = output.relative_l2_to_golden
            figure = output.relative_l2_to_fp32 if figure is None else figure
            text = "not computable" if figure is None or math.isnan(figure) else f"{figure:.3g}"
            log.info(f"  {shown(name)}: relative L2 {text}")
            if not output.within_limits:
                log.info(f"    because: {'; '.join(output.reasons)}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit predict")
    parser.add_argument("model", metavar="MODEL", help="as inference.py --model")
    parser.add_argument("--weights", type=path_given, metavar="PATH", help="a weights file")
    parser.add_argument("--offline", action="store_true", help="make no network request")
    add_download_arguments(parser)
    parser.add_argument("--chip", choices=CHIPS, default="910b", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="of inference.py; may be given several times (default: all three)",
    )
    parser.add_argument("--input", metavar="VALUE", help="as inference.py --input")
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of random weights (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="every figure, as JSON")
    return parser.parse_args(arguments)
