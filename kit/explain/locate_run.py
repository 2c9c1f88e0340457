"""compare_accuracy.py --localize: the first bad module of a run on its device, and the cheapest cure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.devices import Device, select_device
from kit.devices.precision import Dtype
from kit.errors import CannotRunError, named
from kit.evidence.layers import write_layers
from kit.evidence.logs import WRONG_OPERATOR, Logs
from kit.evidence.types.explanation import CheapestCure, Explanation, attributed
from kit.evidence.types.run import FinishedRun
from kit.models.adapter import Adapter
from kit.run.reference import LoadedRun
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.comparison import Comparison, Reference
    from kit.accuracy.repeats import Repeat
    from kit.accuracy.spec import OutputSpec
    from kit.explain.cure import Judged
    from kit.explain.wrong_operator import WrongOperator


log = logging.getLogger("kit")
_BREAKS_OFF = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, OSError)


def device_of(run: FinishedRun) -> Device:
    """The device of the run, with its flags: to be asked for before any other device is, the CPU too.
    Raises CannotRunError where this machine has none."""
    asked = run.precision.requested
    try:
        device = select_device(run.device.spec, asked)
    except CannotRunError as error:
        raise CannotRunError(
            f"--localize needs the device of the run: {error.what}", error.cure
        ) from error
    device.set_precision(asked)
    return device


def judging(
    specs: Mapping[str, OutputSpec],
    reference: Reference,
    repeats: Mapping[str, Repeat],
    dtype: Dtype,
) -> Judged:
    """What compares any of a run's outputs with the reference's."""
    from kit.accuracy.comparison import compare

    def judged(outputs: Mapping[str, Tensor]) -> Comparison:
        chosen = {name: spec for name, spec in specs.items() if name in outputs}
        return compare(chosen, reference, outputs, repeats, dtype=dtype)

    return judged


def locate_run(
    explained: Explanation | Reason,
    new: Logs,
    adapter: Adapter,
    run: FinishedRun,
    again: LoadedRun,
    device: Device,
    verdict: str,
    judged: Judged,
) -> Explanation:
    """What explains the difference, the first bad module, and of a FAIL the cheapest cure, by `judged`,
    which compares outputs with the reference's. Every module call, and the wrong operator in a file of its
    own, go into `new`. What a model's modules make of being watched costs no verdict: it is the reason."""
    from kit.explain.cure import cheapest_cure
    from kit.explain.layers import not_located, rows_of, with_located
    from kit.explain.locate import device_side, locate

    if isinstance(explained, Reason):
        explained = attributed({}, [], explained)
    side = device_side(again, run, device)
    try:
        found = locate(adapter, again, side, run, device, new.folder)
    except _BREAKS_OFF as error:
        return not_located(explained, _broke_off(error))
    layers = write_layers(new, rows_of(found.layers))
    if found.alone is not None:
        _write_operator(new, found.alone, run)
    cure: CheapestCure | Reason = Reason("nothing_to_cure", verdict=verdict)
    if verdict == "FAIL":
        try:
            cure = cheapest_cure(found.layers, side, adapter, run, device, judged)
        except _BREAKS_OFF as error:
            cure = _broke_off(error)
    return with_located(explained, found, layers, cure)


def _broke_off(error: Exception) -> Reason:
    log.debug("localisation broke off", exc_info=error)
    return Reason("localise_failed", error=named(error))


def _write_operator(new: Logs, alone: WrongOperator, run: FinishedRun) -> None:
    import torch

    from kit.explain.wrong_operator import SCRIPT, TENSORS, script_of, tensors_file

    dtype = getattr(torch, run.arguments.dtype)
    script = script_of(alone, run.device.spec, dtype, run.precision.flags)
    new.write_text(f"{WRONG_OPERATOR}/{SCRIPT}", script)
    new.write_bytes(f"{WRONG_OPERATOR}/{TENSORS}", tensors_file(alone))
