"""compare_accuracy.py --localize: the run's device and weights again, and what is told of them."""

from __future__ import annotations

from pathlib import Path

from kit.devices import Device, select_device
from kit.errors import CannotRunError
from kit.evidence.handover import find_weights_again, read_tensors
from kit.evidence.logs import INPUTS, Logs, log
from kit.evidence.types.run import FinishedRun
from kit.models.adapter import Adapter


def device_of(run: FinishedRun) -> Device:
    """The device of the run, with its flags: to be asked for before any other device is, the CPU too.
    Raises CannotRunError where this machine has none."""
    asked = run.precision.requested
    try:
        device = select_device(run.device.spec, asked)
    except CannotRunError as error:
        raise CannotRunError(f"--localize needs the device of the run: {error}") from error
    device.set_precision(asked)
    return device


def locate_run(
    weights: Path | None,
    logs: Logs,
    new: Logs,
    adapter: Adapter,
    run: FinishedRun,
    device: Device,
) -> str:
    """Watch one forward on the device, module by module; the files of it go into `new`, the findings to the
    console. Returns what the log says. `weights` is the user's word on where they are."""
    from kit.explain.layers import layers_table
    from kit.explain.locate import locate, located_lines, write_located
    from kit.weights.load import load_weights

    inputs = read_tensors(logs, INPUTS, run.input.tensors)
    paths = find_weights_again(logs, adapter, run.weights, weights)
    model = adapter.build()
    seed = run.arguments.seed if run.weights.seed is None else run.weights.seed
    loaded = load_weights(adapter, model, paths, seed=seed)
    found = locate(adapter, model, loaded, inputs, run, device, new.folder)
    write_located(new, found, run)
    lines = located_lines(found)
    for line in lines:
        log.info(line)
    return "".join(f"{line}\n" for line in ("", *lines, *layers_table(found.layers)))
