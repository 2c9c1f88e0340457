"""Reveal what a device computes with, by inputs crafted so that the result shows it.

Mantissa bits of the operands of matrix products and convolutions, and how they lose the others; width and
order of the sums; what becomes of subnormal numbers; the formula of GELU; and which operators answer as
this machine's CPU does, bit for bit. What cannot be told is called unknown. What the flags of --precision
promise is checked: the exit code is 4 where the device computes with less, and where it answers as a CPU
everywhere without being one.

    python -m kit probe
    python -m kit probe --device cuda:0 --precision fast --json
    python -m kit probe --device npu:0 --dtype float16
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import get_args

from kit.devices import PRECISIONS, select_device
from kit.devices.precision import Dtype
from kit.documented import written
from kit.entry import at_least, log, parser_of
from kit.evidence.flag_claims import held_to_flags, why_not_believed
from kit.evidence.telling import arithmetic_lines
from kit.evidence.types.arithmetic import PROBE_SEED


def main(arguments: Sequence[str]) -> int:
    """Probe one device. Returns 0, or 4 where it contradicts its flags or answers as a CPU that it is
    not; raises KitError where there is no such device."""
    options = _parse(arguments)
    device = select_device(options.device, options.precision)
    precision = device.set_precision(options.precision)
    from kit.explain.battery import probe_arithmetic

    probed = probe_arithmetic(device, options.dtype, options.seed)
    probed = held_to_flags(probed, precision.flags, device.name)
    doubts = why_not_believed(device.kind, probed)
    if options.json:
        head = {"device": device.spec, "device_name": device.name, "simulated": device.simulated}
        document = {**head, "flags": precision.flags, **written(probed), "doubts": doubts}
        log.info(json.dumps(document, indent=2, allow_nan=False))
    else:
        log.info(f"device {device.spec} ({device.name}), --precision {options.precision}")
        log.info("\n".join([*arithmetic_lines(probed), *(f"DOUBT: {doubt}" for doubt in doubts)]))
    return 4 if doubts else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, "python -m kit probe")
    parser.add_argument("--device", default="auto", help="auto, npu:N, cuda:N or cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="default")
    parser.add_argument("--dtype", choices=get_args(Dtype), default="float32", help="of the inputs")
    parser.add_argument(
        "--seed", type=at_least(0), default=PROBE_SEED, help="of the inputs (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the findings, as JSON")
    return parser.parse_args(list(arguments))
