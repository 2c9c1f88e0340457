"""compare_accuracy.py --localize: the first bad module of a run, on its device or from what was recorded
there, and the cheapest cure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET

from kit.devices import Device, select_device
from kit.devices.precision import Dtype
from kit.errors import CannotRunError, named
from kit.evidence.layers import write_layers
from kit.evidence.logs import MODULE_CALLS, WRONG_OPERATOR, Logs
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
    from kit.explain.locate import DeviceSide, Localised
    from kit.explain.recorded import Recording
    from kit.explain.wrong_operator import WrongOperator


log = logging.getLogger("kit")
_BREAKS_OFF = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, OSError)


def source_of(logs: Logs, run: FinishedRun) -> Device | Recording:
    """The device of the run, with its flags, to be asked for before any other device is, the CPU too;
    where this machine has none, what inference.py --localize recorded of it. Raises CannotRunError where
    there is neither, UntrustedError where the file is another one."""
    asked = run.precision.requested
    try:
        device = select_device(run.device.spec, asked)
    except CannotRunError as error:
        lacks = f"--localize needs the device of the run: {error.what}"
        if run.module_calls is UNSET:
            raise CannotRunError(
                lacks, "compare where it is, or run inference.py --localize there"
            ) from error
        from kit.explain.recorded import recording_of

        log.info(f"{error.what}: its side is read from {MODULE_CALLS}")
        return recording_of(logs, run.module_calls)
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
    source: Device | Recording,
    verdict: str,
    judged: Judged,
) -> Explanation:
    """What explains the difference, the first bad module, and of a FAIL the cheapest cure, by `judged`,
    which compares outputs with the reference's. Every module call, and the wrong operator in a file of its
    own, go into `new`. What a model's modules make of being watched costs no verdict: it is the reason."""
    from kit.explain.layers import not_located, rows_of, with_located
    from kit.explain.locate import device_side, locate

    if isinstance(explained, Reason):
        explained = attributed({}, [], explained)
    side = device_side(again, run, source) if isinstance(source, Device) else source
    try:
        found = locate(adapter, again, side, run, new.folder)
    except _BREAKS_OFF as error:
        return not_located(explained, _broke_off(error))
    layers = write_layers(new, rows_of(found.layers))
    if found.alone is not None:
        _write_operator(new, found.alone, run)
    cure = _cure(found, side, adapter, run, verdict, judged)
    return with_located(explained, found, layers, cure)


def _cure(
    found: Localised,
    side: DeviceSide | Recording,
    adapter: Adapter,
    run: FinishedRun,
    verdict: str,
    judged: Judged,
) -> CheapestCure | Reason:
    from kit.explain.cure import cheapest_cure
    from kit.explain.locate import DeviceSide

    if verdict != "FAIL":
        return Reason("nothing_to_cure", verdict=verdict)
    if not isinstance(side, DeviceSide):
        return Reason("needs_the_device")
    try:
        return cheapest_cure(found.layers, side, adapter, run, judged)
    except _BREAKS_OFF as error:
        return _broke_off(error)


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
