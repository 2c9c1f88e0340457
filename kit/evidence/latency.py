"""What the timed runs of a forward took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds. The first call (`cold_ms`: kernel load, compilation) is apart from the rest,
    which are over `iterations` runs after `warmup` runs of the same shapes; `samples_ms` has each of
    them, in the order they ran."""

    cold_ms: float
    warmup: int
    iterations: int
    mean_ms: float
    std_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    samples_ms: list[float]
