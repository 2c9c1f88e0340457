"""What the host can ask: the current device, synchronization, versions, what the chip supports."""

from __future__ import annotations

from typing import Any

from .. import _clock, _devices
from .._switches import SWITCHES
from .streams import Stream


def synchronize(device: Any = None) -> None:
    """Wait until a device has done all its work."""
    _clock.synchronize(_devices.initialize(_devices.index_of(device)))


def set_device(device: Any) -> None:
    """Make `device` the current one."""
    _devices.select(_devices.index_of(device))


def current_device() -> int:
    """The index of the current device."""
    return _devices.initialize()


class device:  # lower case, as the real one
    """A context in which another device is the current one."""

    def __init__(self, device: Any) -> None:
        self.idx = _devices.index_of(device)
        self._previous = -1

    def __enter__(self) -> None:
        self._previous = _devices.current()
        _devices.select(self.idx)

    def __exit__(self, *_: object) -> None:
        _devices.select(self._previous)


def current_stream(device: Any = None) -> Stream:
    """The one queue of `device`."""
    return Stream(device)


default_stream = current_stream


def is_bf16_supported(including_emulation: bool = False) -> bool:
    """Whether the chip computes in bfloat16; the 910A does not."""
    _devices.initialize()
    return SWITCHES.chip != "910A"


def get_cann_version(module: str = "CANN") -> str:
    """The version of CANN or of a part of it; empty where no CANN can be found."""
    return SWITCHES.cann or ""
