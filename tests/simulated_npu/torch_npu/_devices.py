"""How many devices there are, which one is current, and what each of them is.

`initialize` is the door to a device: every allocation and every call of torch.npu that needs a
device passes it, and it is here that a missing device shows itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from . import _errors
from ._switches import SWITCHES


@dataclass(frozen=True)
class Chip:
    """What the simulated chips tell of themselves.

    Not read off hardware by this project: memory sizes and core counts are those publicly known of
    the chips (the platform files of CANN), and nothing in the simulation depends on them.
    """

    name: str
    total_memory: int
    cube_core_num: int
    vector_core_num: int


_CHIPS = {
    "910B4": Chip("Simulated NPU (Ascend910B4)", 32 * 2**30, 20, 40),
    "910A": Chip("Simulated NPU (Ascend910A)", 32 * 2**30, 32, 32),
}

CHIP = _CHIPS[SWITCHES.chip]
if SWITCHES.oom is not None:
    CHIP = replace(CHIP, total_memory=SWITCHES.oom)


class _State:
    """What a process knows of its devices."""

    initialized = False
    current = 0


def count() -> int:
    """How many devices this process sees."""
    return SWITCHES.devices


def is_initialized() -> bool:
    """Whether a device has been used yet."""
    return _State.initialized


def initialize(index: int | None = None) -> int:
    """Open device `index` (the current one for None) and return its index."""
    wanted = _State.current if index is None else index
    if not 0 <= wanted < count():
        raise _errors.invalid_device()
    if SWITCHES.init_error is not None:
        raise RuntimeError(SWITCHES.init_error)
    _State.initialized = True
    return wanted


def current() -> int:
    """The index of the current device, opened or not."""
    return _State.current


def select(index: int) -> None:
    """Make device `index` the current one."""
    _State.current = initialize(index)


def index_of(device: Any) -> int:
    """The index meant by None, an index, a string, a torch.device or an object with `.idx`."""
    if device is None:
        return _State.current
    if isinstance(device, int):
        return device
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if device.type != "npu":
            raise ValueError(
                f"Expected a npu device, but got: {device}" + _errors.signature("ERR00003")
            )
        return _State.current if device.index is None else device.index
    return int(device.idx)


def checked_index_of(device: Any) -> int:
    """The index meant by `device`, which must exist."""
    index = index_of(device)
    if device is None and not count():
        # The real function compares the current device, which is None then, with 0.
        raise TypeError("'<' not supported between instances of 'NoneType' and 'int'")
    if not 0 <= index < count():
        raise AssertionError("Invalid device id" + _errors.signature("ERR00003"))
    return index
