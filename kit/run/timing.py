"""Latency of a forward on a device that executes asynchronously."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from kit.devices import Device
from kit.evidence.latency import Latency


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
    forward: Callable[[], object], device: Device, *, cold_ms: float, warmup: int, iterations: int
) -> Latency:
    """Warm up and time. `iterations` is at least 1."""
    for _ in range(warmup):
        time_once(forward, device)
    samples = [time_once(forward, device) for _ in range(iterations)]
    times = sorted(samples)
    return Latency(
        cold_ms=cold_ms,
        warmup=warmup,
        iterations=iterations,
        mean_ms=statistics.fmean(times),
        std_ms=statistics.pstdev(times),
        min_ms=times[0],
        p50_ms=_percentile(times, 50),
        p90_ms=_percentile(times, 90),
        p99_ms=_percentile(times, 99),
        max_ms=times[-1],
        samples_ms=samples,
    )


def _percentile(ordered: list[float], percent: float) -> float:
    """Linear interpolation between closest ranks, numpy's default definition."""
    rank = (len(ordered) - 1) * percent / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)
