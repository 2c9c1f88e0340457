"""The parent's side of probe.py: what the child told, and what its end tells where it told nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.devices import probe_seconds
from kit.doctor.check import Check
from kit.machine.bounded import Ended, run_bounded
from kit.machine.cures import cure_for, next_step

_ROOT = Path(__file__).resolve().parents[2]
# Without a sign of life: the first allocation on an NPU takes seconds, but not idle ones alone.
_PATIENCE_SECONDS = 4.0
# At work all the while: torch, torch_npu and the first use of the devices, on a busy machine.
_WORK_SECONDS = 20.0


def devices_and_torch() -> Iterator[Check]:
    """What a child finds that imports torch and uses each device. Raises UsageError."""
    # The user's bound is for one allocation, which the child itself then gives up in time.
    patience = max(_PATIENCE_SECONDS, (probe_seconds() or 0) + 1)
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    # -P: no module of the working directory passes for another.
    command = [sys.executable, "-P", "-m", "kit.doctor.probe"]
    limit = patience + _WORK_SECONDS
    ended = run_bounded(command, limit, patience=patience, environment=environment)
    late = "the process that tries it " + (
        f"did nothing for {patience:g} s" if ended.stuck else f"was not done after {limit:g} s"
    )
    begun: dict[str, Check | None] = {}
    for line in ended.out.splitlines():
        told = _read(line)
        if isinstance(told, Check):
            begun[told.name] = told
        elif told is not None:
            begun[told] = None
    for name, check in begun.items():
        yield check if check is not None else _unfinished(name, ended, late)
    if None not in begun.values() and ended.code != 0:  # it ended between two checks
        yield _unfinished("devices" if begun else "import torch", ended, late)


def _read(line: str) -> Check | str | None:
    """A finding, the name of one that has begun, or None for what is neither."""
    try:
        fields: dict[str, Any] = json.loads(line)
        return str(fields["begun"]) if "begun" in fields else Check(**fields)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None  # a driver that writes wherever it finds a descriptor


def _unfinished(name: str, ended: Ended, late: str) -> Check:
    if ended.code is None:
        longer = "on a slow host set KIT_PROBE_SECONDS=60"
        if name in ("import torch", "torchvision"):
            # A cold disk does that too: nothing is proven broken.
            return Check(name, "warning", late, f"run it again; {longer}")
        return Check(name, "broken", late, f"check the card (npu-smi info); {longer}")
    last = ended.err.strip().rpartition("\n")[2]
    found = f"the process {ended.how()} at it" + (f": {last}" if last else "")
    if name in ("import torch", "torchvision"):
        module = name.removeprefix("import ")
        cure = cure_for(ended.err) or f"unknown to the kit: try python -c 'import {module}' by hand"
    else:
        cure = next_step(ended.err)
    return Check(name, "broken", found, cure)
