"""compare_accuracy.py --localize: the first bad module of a run, on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.devices import Device, select_device
from kit.errors import CannotRunError
from kit.evidence.layers import write_layers
from kit.evidence.logs import WRONG_OPERATOR, Logs
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.run import FinishedRun
from kit.models.adapter import Adapter
from kit.run.load_run import LoadedRun
from kit.words import Reason

if TYPE_CHECKING:
    from kit.explain.wrong_operator import WrongOperator


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


def locate_run(
    explained: Explanation | Reason,
    new: Logs,
    adapter: Adapter,
    run: FinishedRun,
    again: LoadedRun,
    device: Device,
) -> Explanation:
    """What explains the difference, and the first bad module beside it. Every module call, and the wrong
    operator in a file of its own, go into `new`."""
    from kit.explain.layers import rows_of, with_located
    from kit.explain.locate import locate

    found = locate(adapter, again, run, device, new.folder)
    layers = write_layers(new, rows_of(found.layers))
    if found.alone is not None:
        _write_operator(new, found.alone, run)
    return with_located(explained, found, layers)


def _write_operator(new: Logs, alone: WrongOperator, run: FinishedRun) -> None:
    import torch

    from kit.explain.wrong_operator import SCRIPT, TENSORS, script_of, tensors_file

    dtype = getattr(torch, run.arguments.dtype)
    script = script_of(alone, run.device.spec, dtype, run.precision.flags)
    new.write_text(f"{WRONG_OPERATOR}/{SCRIPT}", script)
    new.write_bytes(f"{WRONG_OPERATOR}/{TENSORS}", tensors_file(alone))
