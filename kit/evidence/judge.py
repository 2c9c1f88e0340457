"""Judge two saved sets of outputs (safetensors), by the rules of compare_accuracy.py, without a model.

An output is logits (classes or tokens in its last dimension) where inference.py wrote so into the
reference's file, where its name contains "logits", or where --logits names it; integers must be equal;
anything else is judged as features. Exit code 0 for PASS, 1 for FAIL, 4 for INVALID.

    python -m kit judge logs/reference.safetensors logs/outputs.safetensors
    python -m kit judge cpu.safetensors npu.safetensors --golden fp64.safetensors --json
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kit.accuracy.comparison import Comparison, Reference, compare
from kit.accuracy.repeats import ASSUMED_REPEATABLE, compare_runs
from kit.accuracy.spec import OutputSpec
from kit.accuracy.table import outputs_table
from kit.documented import written
from kit.entry import parser_of, path_given
from kit.errors import UsageError, shown
from kit.evidence.saved_outputs import read_outputs

if TYPE_CHECKING:
    from torch import Tensor

EXIT_CODES = {"PASS": 0, "FAIL": 1, "INVALID": 4}

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Judge, and say why. Returns the verdict's exit code; raises UsageError."""
    options = _parse(arguments)
    reference, roles = read_outputs(options.reference)
    device, _ = read_outputs(options.device)
    golden = read_outputs(options.golden)[0] if options.golden else {}
    again = read_outputs(options.again)[0] if options.again else None
    names = [*reference, *(name for name in device if name not in reference)]
    for name in options.logits:
        if name not in names:
            raise UsageError(
                f"--logits {shown(name)}: there is no such output",
                f"give one of {', '.join(map(shown, names))}",
            )
    both = {name: tensor for name, tensor in (again or {}).items() if name in device}
    repeats = compare_runs({name: device[name] for name in both}, both) if again else {}
    result = compare(
        {
            name: _spec(name, roles, options.logits, names, planes=_planes(reference.get(name)))
            for name in names
        },
        Reference(outputs=reference, repeats={}, golden=golden, golden_reason=None),
        device,
        repeats if again is not None else dict.fromkeys(names, ASSUMED_REPEATABLE),
    )
    _tell(result, as_json=options.json, repeated=again is not None)
    return EXIT_CODES[result.verdict]


def _tell(result: Comparison, *, as_json: bool, repeated: bool) -> None:
    if as_json:
        kept = ("verdict", "readings", "outputs")
        document = {name: written(getattr(result, name)) for name in kept}
        log.info(json.dumps(document, indent=2, allow_nan=False))
        return
    for line in outputs_table(result.outputs):
        log.info(line)
    for name, output in result.outputs.items():
        if errors := output.truth:
            device, ours = (_figure(side.relative_l2) for side in (errors.device, errors.reference))
            log.info(
                f"relative L2 of {shown(name)} against the golden: device {device}, reference {ours}"
            )
    if not result.outputs:
        log.info("there is no output in either file")
    if not repeated:
        log.info("whether the device is repeatable is not judged: no --again was given")
    log.info(f"verdict {result.verdict}")


def _figure(value: float | None) -> str:
    return "not computable" if value is None else f"{value:.3g}"


def _spec(
    name: str,
    roles: Mapping[str, OutputSpec],
    logits: Sequence[str],
    names: Sequence[str],
    *,
    planes: bool,
) -> OutputSpec:
    if name in logits:
        return OutputSpec(role="logits")
    # A segmentation's logits have their classes in dimension 1, not along the image's width.
    named = "logits" in name.lower() and not planes
    spec = roles.get(name, OutputSpec(role="logits" if named else "features"))
    chosen = {roles[ids].scores for ids in roles if ids in names and roles[ids].role == "token_ids"}
    # The scores of steps are judged with the ids they chose; without those, as what they are.
    return OutputSpec(role="logits") if spec.role == "step_scores" and name not in chosen else spec


def _planes(tensor: Tensor | None) -> bool:
    """Whether an output [batch, classes, ..., height, width] is of planes."""
    if tensor is None or tensor.dim() < 4:
        return False
    height, width = tensor.shape[-2:]
    return height >= 8 and width <= 4 * height


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit judge")
    parser.add_argument("reference", type=path_given, metavar="REFERENCE.safetensors")
    parser.add_argument("device", type=path_given, metavar="DEVICE.safetensors")
    parser.add_argument(
        "--golden", type=path_given, metavar="FILE", help="the same outputs in fp64"
    )
    parser.add_argument(
        "--again", type=path_given, metavar="FILE", help="a second run of the device"
    )
    parser.add_argument(
        "--logits", action="append", default=[], metavar="NAME", help="an output that is ranked"
    )
    parser.add_argument("--json", action="store_true", help="every figure, as JSON")
    return parser.parse_args(arguments)
