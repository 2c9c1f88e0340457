"""What the timed runs of a forward took."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kit.documented import Documented, says


class Latency(Documented, frozen=True, kw_only=True):
    """Milliseconds. The first call (`cold_ms`: kernel load, compilation) is apart from the rest,
    which are over `iterations` runs after `warmup` runs of the same shapes; `samples_ms` has each of
    them, in the order they ran. Null where the run ended before."""

    cold_ms: Annotated[float, says("The first call: kernel load and compilation included.", ge=0)]
    warmup: Annotated[int, says("Untimed runs before the timed ones.")]
    iterations: Annotated[int, says("Timed runs that the figures below are over.")]
    mean_ms: Annotated[float, says("Mean.", ge=0)]
    std_ms: Annotated[float, says("Population standard deviation.", ge=0)]
    min_ms: Annotated[float, says("Fastest.", ge=0)]
    p50_ms: Annotated[float, says("Median.", ge=0)]
    p90_ms: Annotated[float, says("90th percentile, linear interpolation.", ge=0)]
    p99_ms: Annotated[float, says("99th percentile, linear interpolation.", ge=0)]
    max_ms: Annotated[float, says("Slowest.", ge=0)]
    samples_ms: Annotated[
        Annotated[list[Annotated[float, Meta(ge=0)]], Meta(min_length=1)],
        says(
            "Every timed run, in the order they ran. Absent from records of kits that did"
            " not keep it."
        ),
    ]
