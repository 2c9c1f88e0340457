"""Latency of a forward on a device that executes asynchronously."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kit.devices import Device
from kit.evidence.latency import FEWEST_RUNS, MOST_RUNS, Latency, latency_of

if TYPE_CHECKING:
    from torch import Tensor

# Where the number of timed runs is left open: as many as these seconds allow, within bounds.
_SECONDS = 5.0
# Copies from an idle device, the median of which is what such a copy takes.
_IDLE_COPIES = 5


def time_once(forward: Callable[[], object], device: Device) -> float:
    """Milliseconds of one forward, from an idle device until it is idle again.

    Raises what the device's synchronize raises: a time without it would be that of the submission.
    """
    device.synchronize()
    start = time.perf_counter()
    forward()
    device.synchronize()
    return (time.perf_counter() - start) * 1e3


def measure_latency(
    forward: Callable[[], Mapping[str, Tensor]],
    device: Device,
    *,
    cold_ms: float,
    warmup: int,
    iterations: int | None,
) -> tuple[Latency, dict[str, Tensor]]:
    """Warm up and time; returns the latency and the outputs of the last timed run, on the device.

    `iterations` is at least 1; None takes as many as 5 s allow, at least 20 and at most 1,000. The
    device is not believed to be done when it says so: after each run an element of every output is
    waited for on the CPU, outside the run's time.
    """
    import statistics

    last: dict[str, Tensor] = {}

    def once() -> None:
        last.clear()  # as a plain loop lets go of them: two runs' outputs are never held
        last.update(forward())

    for _ in range(warmup):
        time_once(once, device)
    samples: list[float] = []
    waited: list[float] = []
    begun = time.perf_counter()
    while not _enough(len(samples), time.perf_counter() - begun, iterations):
        samples.append(time_once(once, device))
        waited.append(_arrival_ms(last))
    idle = statistics.median(_arrival_ms(last) for _ in range(_IDLE_COPIES))
    # What returns early does so every time; a busy machine holds up some. Hence the lower quartile.
    late = max(0.0, sorted(waited)[len(waited) // 4] - idle)
    return latency_of(samples, cold_ms=cold_ms, warmup=warmup, unsynchronised_ms=late), last


def _enough(runs: int, seconds: float, iterations: int | None) -> bool:
    if iterations is not None:
        return runs >= iterations
    return runs >= MOST_RUNS or (runs >= FEWEST_RUNS and seconds >= _SECONDS)


def _arrival_ms(outputs: Mapping[str, Tensor]) -> float:
    """Milliseconds until an element of every output is on the CPU. Empty outputs have none."""
    start = time.perf_counter()
    for tensor in outputs.values():
        if tensor.numel():
            tensor[(0,) * tensor.dim()].cpu()
    return (time.perf_counter() - start) * 1e3
