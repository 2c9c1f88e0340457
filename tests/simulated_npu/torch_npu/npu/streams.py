"""torch.npu's streams and events.

A device of this simulation works off one queue: streams exist so that programs that name them run,
and work on two of them does not overlap.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import _clock, _devices


class Stream:
    """A queue of work on a device."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device_index = _devices.initialize(_devices.index_of(device))
        self.priority = priority

    @property
    def device(self) -> torch.device:
        """The device whose queue this is."""
        return torch.device("npu", self.device_index)

    def synchronize(self) -> None:
        """Wait until everything queued so far is done."""
        _clock.synchronize(self.device_index)

    def query(self) -> bool:
        """Whether everything queued so far is done."""
        return _clock.is_past(_clock.done_at(self.device_index))

    def record_event(self, event: Event | None = None) -> Event:
        """Record `event`, or a new one, behind everything queued so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Queue later work behind `event`: with one queue it already is."""

    def wait_stream(self, stream: Stream) -> None:
        """Queue later work behind that of `stream`: with one queue it already is."""


class Event:
    """A mark in the queue that knows when the device reached it."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.enable_timing = enable_timing
        self._device = _devices.current()
        self._moment: float | None = None
        """When the device reaches, or reached, the mark; None: not recorded."""

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind everything queued so far."""
        self._device = Stream().device_index if stream is None else stream.device_index
        self._moment = _clock.done_at(self._device)

    def wait(self, stream: Stream | None = None) -> None:
        """Queue later work behind the mark: with one queue it already is."""

    def query(self) -> bool:
        """Whether the device has passed the mark."""
        return self._moment is None or _clock.is_past(self._moment)

    def synchronize(self) -> None:
        """Wait until the device has passed the mark."""
        if self._moment is not None:
            _clock.synchronize(self._device, self._moment)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds on the device between this mark and `end_event`; waits for both."""
        if self._moment is None or end_event._moment is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.enable_timing and end_event.enable_timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        _clock.wait_until(max(self._moment, end_event._moment))
        return (end_event._moment - self._moment) * 1000
