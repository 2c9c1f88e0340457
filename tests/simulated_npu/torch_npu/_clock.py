"""The devices' clocks: work that has been launched and is not done yet.

The values of a simulated operator are computed at once, on the CPU. Its *time* on the device is
SIM_NPU_DELAY_MS: launching adds it to what the device still has to do and returns immediately, as
on an NPU, where execution is asynchronous by default. Whoever waits sleeps until the device would
be done.
"""

from __future__ import annotations

import time

from . import _errors
from ._switches import SWITCHES

_DELAY_S = SWITCHES.delay_ms / 1000
_busy_until: dict[int, float] = {}
synchronized = [0]
"""How often the host waited on its own wish: the calls of a forward are counted from there."""
_failures: list[str] = []
"""Of operators that failed since anybody waited."""


def costs_time(name: str, *, launches_kernel: bool) -> bool:
    """Whether operator `name` occupies the device at all; a view only relabels memory."""
    if not _DELAY_S:
        return False
    return launches_kernel if SWITCHES.delay_op is None else name == SWITCHES.delay_op


def launch(device: int) -> None:
    """Queue one operator behind the work that `device` has left."""
    _busy_until[device] = done_at(device) + _DELAY_S


def fail(text: str) -> None:
    """Let whoever waits next meet the failure of an operator."""
    _failures.append(text)


def done_at(device: int) -> float:
    """When (on time.perf_counter) `device` has done all that was queued so far."""
    return max(time.perf_counter(), _busy_until.get(device, 0.0))


def is_past(moment: float) -> bool:
    """Whether `moment` on time.perf_counter is over."""
    return moment <= time.perf_counter()


def wait_until(moment: float) -> None:
    """Sleep until `moment` on time.perf_counter."""
    remaining = moment - time.perf_counter()
    if remaining > 0:
        time.sleep(remaining)


def wait(device: int) -> None:
    """Sleep until `device` has nothing left to do, as a copy to the CPU does."""
    _raise_failure()
    wait_until(done_at(device))


def synchronize(device: int, moment: float | None = None) -> None:
    """Wait on the caller's wish: here faults of earlier kernels come to light."""
    synchronized[0] += 1
    if SWITCHES.sync_fail:
        raise _errors.asynchronous_fault(device)
    _raise_failure()
    done = done_at(device) if moment is None else moment
    now = time.perf_counter()
    wait_until(now + SWITCHES.sync_share * max(0.0, done - now))


def _raise_failure() -> None:
    if _failures:
        raise RuntimeError(_failures.pop(0))
