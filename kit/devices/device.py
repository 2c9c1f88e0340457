"""What a device is to the rest of the kit, and what it takes to be believed.

A device is believed when memory was allocated on it and it was synchronised, never on is_available()
alone.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from kit.devices.precision import Precision, PrecisionName
from kit.errors import Fault, UsageError
from kit.machine.cures import cure_for, next_step, told
from kit.words import Reason

DeviceKind = Literal["npu", "cuda", "cpu"]

# The first allocation on an idle NPU takes seconds; one that takes longer than this is stuck.
_PROBE_SECONDS = 60.0


class Unavailable(Fault):
    """Why a device cannot be used."""


class Device(ABC):
    """One usable device; `spec` is torch's name for it, such as npu:0. Constructing it proves it.

    Raises Unavailable from the constructor, with the reason and the cure.
    """

    kind: ClassVar[DeviceKind]

    def __init__(self, index: int) -> None:
        self.index = index
        self.reason = Reason("asked_for")
        self.why_simulated: Reason | None = None

    @property
    def simulated(self) -> bool:
        """Whether this is a simulation, or may be one: what is not proven to be real is not called so."""
        return self.why_simulated is not None

    @property
    def spec(self) -> str:
        """torch's name of the device: npu:0, cuda:1, cpu."""
        return f"{self.kind}:{self.index}"

    @property
    @abstractmethod
    def name(self) -> str:
        """The hardware's own name."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many devices of this kind the process sees."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything submitted to the device is done. Raises what the device raises."""

    @abstractmethod
    def set_precision(self, requested: PrecisionName) -> Precision:
        """Set the arithmetic flags for one of PRECISIONS and read them back."""

    def put_flags(self, flags: Mapping[str, bool]) -> None:  # noqa: B027  (a CPU has none)
        """Set arithmetic flags by the names that set_precision() reads back, for what runs next."""

    def peak_bytes(self) -> int | None:
        """Peak of the memory allocated on the device in bytes, None where it is not counted."""
        return None

    def memory(self) -> tuple[int, int] | None:
        """Free and total bytes of the device's own memory, None where it has none of its own."""
        return None

    def cann_version(self) -> str | None:
        """The version of CANN that drives the device, None where there is none."""
        return None


def explained(error: Exception, kind: str) -> Unavailable:
    """What the runtime of a `kind` of device raised, with the cure."""
    if isinstance(error, Unavailable):
        return error
    return Unavailable(told(error), _cure(error, kind))


def _cure(error: Exception, kind: str) -> Reason:
    text = str(error)
    if kind == "npu":
        return next_step(text)
    return cure_for(text) or Reason("failure_of_cuda")


def check_index(spec: str, index: int, count: int, numbering: str = "") -> None:
    """Raise Unavailable where there are fewer devices than that; `numbering` is what the environment does
    to their numbers."""
    if index >= count:
        kind = spec.partition(":")[0]
        if not count:
            raise Unavailable(Reason("none_of_kind", kind=kind, numbering=numbering))
        last = f"{kind}:{count - 1}"
        raise Unavailable(Reason("no_such", device=spec, last=last, numbering=numbering))


def probe_seconds() -> float | None:
    """KIT_PROBE_SECONDS, None where it is not set. Raises UsageError where it is no number of seconds."""
    text = os.environ.get("KIT_PROBE_SECONDS")
    try:
        seconds = None if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise UsageError(
            Reason("no_number", variable="KIT_PROBE_SECONDS", given=repr(text)),
            Reason("give_number"),
        )
    return seconds


def prove(device: Device) -> None:
    """Put a tensor on the device and synchronise, in a thread so that a stuck driver ends in an error."""
    import torch

    failure: list[Exception] = []

    def allocate() -> None:
        try:
            # A copy, not torch.ones(..., device=...): an operator that falls back to the CPU says so
            # once a process, which the watch of the first pass would then have missed.
            torch.ones(8).to(device.spec)
            device.synchronize()
        except Exception as error:  # every runtime has its own classes
            failure.append(error)

    thread = threading.Thread(target=allocate, daemon=True)
    thread.start()
    asked = probe_seconds()
    limit = _PROBE_SECONDS if asked is None else asked
    thread.join(limit)
    if thread.is_alive():
        raise Unavailable(
            Reason("stuck", device=device.spec, seconds=limit),
            Reason("check_card"),
        )
    if failure:
        cause = failure[0]
        failed = Reason("allocation", said=told(cause))
        raise Unavailable(failed, _cure(cause, device.kind)) from cause
