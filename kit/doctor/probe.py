"""The child in which doctor imports torch and uses every device (see child.py).

It may hang in a driver or be aborted by one. So each finding is a line of JSON as soon as it is there:
{"begun": NAME} before, a check's fields after. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import IO, Any

from kit.devices import Device, forbid_autoload, select_device, visible_devices
from kit.errors import Fault, KitError, UsageError
from kit.machine.cures import cure_for, next_step
from kit.words import Reason

_SIZE = 256
_GIB = 2**30


class _Report:
    """The findings' way out: a copy of stdout, which itself becomes stderr for everyone else."""

    def __init__(self) -> None:
        self._out: IO[str] = os.fdopen(os.dup(1), "w", encoding="ascii")
        self._guard = threading.Lock()
        os.dup2(2, 1)

    def begin(self, name: str) -> None:
        self._say({"begun": name})

    def end(self, name: str, state: str, found: str, cure: str | None = None) -> None:
        self._say({"name": name, "state": state, "found": found, "cure": cure})

    def broken(self, name: str, error: BaseException, otherwise: str) -> None:
        """A failure, with its own cure, else that of a text that is known."""
        text = " ".join((error.what if isinstance(error, Fault) else str(error)).split())
        cure = (error.cure if isinstance(error, Fault) else None) or cure_for(text) or otherwise
        self.end(name, "broken", text or type(error).__name__, cure)

    def _say(self, line: dict[str, Any]) -> None:
        with self._guard:
            print(json.dumps(line), file=self._out, flush=True)


def main() -> None:
    """Import torch, then torchvision's ops, then use each device."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(ImportError, ValueError, OSError):
        import resource  # no core file of a child that is aborted

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    report = _Report()
    forbid_autoload()
    report.begin("import torch")
    try:
        import torch
    except Exception as error:
        report.broken("import torch", error, "install torch again: pip install -r requirements.txt")
        return
    report.end("import torch", "ok", f"{torch.__version__} imports")
    _look_at_torchvision(report)
    _look_at_devices(report)


def _look_at_torchvision(report: _Report) -> None:
    from kit.models.families.torchvision_ops import declare_missing_ops

    report.begin("torchvision")
    try:
        whole = declare_missing_ops() is None
    except Exception as error:
        report.broken("torchvision", error, "install the torchvision that fits this torch")
        return
    if whole:
        report.end("torchvision", "ok", "its compiled ops load")
        return
    # As kit/models/families/torchvision_ops.py explains: the kit itself gets along with it.
    found = (
        "its compiled ops do not load beside this torch; timm and transformers outside the kit fail"
    )
    cure = "install the build that fits: pip install --force-reinstall --no-deps torchvision --index-url "
    report.end("torchvision", "warning", found, cure + "https://download.pytorch.org/whl/cpu")


def _look_at_devices(report: _Report) -> None:
    report.begin("devices")
    try:
        names = visible_devices()
    except Exception as error:
        report.broken("devices", error, next_step(str(error)))
        return
    if not names:
        found = "neither an NPU nor a GPU: everything runs on the CPU"
        report.end("devices", "warning", found, "for an NPU's result use an Ascend host")
        return
    report.end("devices", "ok", f"{len(names)}: {', '.join(names)}")
    for name in names:
        report.begin(name)
    threads = [threading.Thread(target=_use, args=(report, name), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # one that hangs is told of by the parent, which ends this process


def _use(report: _Report, name: str) -> None:
    """Allocate, multiply, synchronise, read back."""
    begun = time.monotonic()
    try:
        device = select_device(name)
        value = _product(device)
        memory = device.memory()
    except UsageError as error:
        report.broken(name, error, "correct it")
    except KitError as error:
        # Its cause is without the advice on options of inference.py.
        report.broken(name, error.__cause__ or error, "check the driver")
    except Exception as error:
        report.broken(name, error, next_step(str(error)))
    else:
        free, total = memory or (0, 0)
        found = (
            f"{device.name}: allocated, multiplied and synchronised in {time.monotonic() - begun:.2f} s"
            + (f", {free / _GIB:.1f} of {total / _GIB:.1f} GiB free" if memory else "")
            + (f", CANN {cann}" if (cann := device.cann_version()) else "")
        )
        if value != _SIZE / 4:
            found = f"{device.name}: a matrix product gives {value} where {_SIZE / 4} is right"
            cure = "do not use this card: check its health with npu-smi info"
            report.end(name, "broken", found, cure)
        elif device.simulated:
            found = f"{found}; a simulation: {device.why_simulated}"
            report.end(name, "warning", found, "for an NPU's result use an Ascend host")
        elif memory and free < 2 * _GIB:
            report.end(name, "warning", found, Reason("cure_device_memory"))
        else:
            report.end(name, "ok", found)


def _product(device: Device) -> float:
    """An element of a product that every arithmetic from fp16 upwards gives exactly."""
    import torch

    half = torch.full((_SIZE, _SIZE), 0.5, device=device.spec)
    product = half @ half
    device.synchronize()
    return float(product.cpu()[-1, -1])


def _end_with_parent() -> None:
    """Leave when the other end of stdin closes: doctor was killed."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # a thread that is stuck in a driver must not hold the process
