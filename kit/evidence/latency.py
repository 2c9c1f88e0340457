"""What the timed runs of a forward took, and which figures so many of them can give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from kit.documented import Documented, says
from kit.words import Reason

# Runs below which a percentile says more than was measured: of so many, at least two are slower than
# it with 99% confidence (smallest n with P(Binomial(n, 1 - p) <= 1) <= 0.01), which is MLPerf
# inference's early-stopping criterion at a tolerance of 0.
RUNS_NEEDED = {"p90_ms": 64, "p99_ms": 662}
# Where the number of runs is left open.
FEWEST_RUNS, MOST_RUNS = 20, 1000
# An interquartile range above this share of the median is told, as torch.utils.benchmark does.
_VARYING, _UNSTABLE = 0.10, 0.25

Spread = Literal["steady", "varying", "unstable"]


class Latency(Documented, frozen=True, kw_only=True):
    """Milliseconds. The first call (`cold_ms`: kernel load, compilation) is apart from the rest,
    which are over `iterations` runs after `warmup` runs of the same shapes; `samples_ms` has each of
    them, in the order they ran. Null where the run ended before."""

    cold_ms: Annotated[float, says("The first call: kernel load and compilation included.", ge=0)]
    warmup: Annotated[int, says("Untimed runs before the timed ones.", ge=0)]
    iterations: Annotated[int, says("Timed runs that the figures below are over.", ge=1)]
    mean_ms: Annotated[float, says("Mean.", ge=0)]
    std_ms: Annotated[float, says("Population standard deviation.", ge=0)]
    min_ms: Annotated[float, says("Fastest.", ge=0)]
    p50_ms: Annotated[float, says("Median.", ge=0)]
    p50_low_ms: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        says(
            "Lower end of the median's 95% interval, a timed run: the k-th fastest, k the "
            "largest with P(Binomial(iterations, 1/2) < k) <= 2.5%. It takes the runs for "
            "independent. Null below 6 timed runs."
        ),
    ]
    p50_high_ms: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        says("Its upper end: the k-th slowest. Null below 6 timed runs."),
    ]
    p90_ms: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        says("90th percentile, linear interpolation; null below 64 timed runs."),
    ]
    p99_ms: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        says("99th percentile, linear interpolation; null below 662 timed runs."),
    ]
    max_ms: Annotated[float, says("Slowest.", ge=0)]
    iqr_ms: Annotated[
        float, says("Interquartile range: 75th less 25th percentile, linear interpolation.", ge=0)
    ]
    spread: Annotated[
        Spread,
        says(
            "By iqr_ms over p50_ms: steady up to 10%, varying up to 25% (a warning), "
            "unstable above (the machine or the device did something else meanwhile)."
        ),
    ]
    unsynchronised_ms: Annotated[
        float,
        says(
            "What the device still had to do when synchronize had returned: lower quartile over "
            "the timed runs of the time until an element of every output was on the CPU, less "
            "what that copy takes on a device with nothing to do. Where it is above 0.1 ms "
            "and above 10% of p50_ms, the times are not those of the forward.",
            ge=0,
        ),
    ]
    samples_ms: Annotated[
        Annotated[list[Annotated[float, Meta(ge=0)]], Meta(min_length=1)],
        says("Every timed run, in the order they ran."),
    ]
    null_reasons: Annotated[
        dict[str, Reason],
        says("Why a figure above is null, for exactly those that are."),
    ]


def latency_of(
    samples_ms: Sequence[float], *, cold_ms: float, warmup: int, unsynchronised_ms: float
) -> Latency:
    """The figures that follow from the timed runs (milliseconds, at least one)."""
    import statistics

    times = sorted(samples_ms)
    count = len(times)
    median = _percentile(times, 50)
    spread_ms = _percentile(times, 75) - _percentile(times, 25)
    tails = {
        name: _percentile(times, percent) if count >= RUNS_NEEDED[name] else None
        for name, percent in (("p90_ms", 90), ("p99_ms", 99))
    }
    low, high = median_interval(times) or (None, None)
    reasons = {
        name: _too_few(count, needed) for name, needed in RUNS_NEEDED.items() if tails[name] is None
    }
    if low is None:
        reasons |= dict.fromkeys(("p50_low_ms", "p50_high_ms"), _too_few(count, 6))
    return Latency(
        cold_ms=cold_ms,
        warmup=warmup,
        iterations=count,
        mean_ms=statistics.fmean(times),
        std_ms=statistics.pstdev(times),
        min_ms=times[0],
        p50_ms=median,
        p50_low_ms=low,
        p50_high_ms=high,
        p90_ms=tails["p90_ms"],
        p99_ms=tails["p99_ms"],
        max_ms=times[-1],
        iqr_ms=spread_ms,
        spread=_spread(spread_ms, median),
        unsynchronised_ms=unsynchronised_ms,
        samples_ms=list(samples_ms),
        null_reasons=reasons,
    )


def median_interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of the median by order statistics, whatever the distribution; None where
    `ordered` (ascending) has fewer than 6 values, which no two of them bound so surely."""
    count, rank = len(ordered), 0
    below = _half_binomial(count, 0)
    while below <= 0.025:
        rank += 1
        below += _half_binomial(count, rank)
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


def _half_binomial(count: int, successes: int) -> float:
    """P(Binomial(count, 1/2) = successes), in logarithms: 2^count leaves fp64 beyond 1,023."""
    ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(ways - count * math.log(2))


def _spread(spread_ms: float, median: float) -> Spread:
    if spread_ms <= _VARYING * median:
        return "steady"
    return "varying" if spread_ms <= _UNSTABLE * median else "unstable"


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """Linear interpolation between closest ranks, numpy's default definition."""
    rank = (len(ordered) - 1) * percent / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _too_few(runs: int, needed: int) -> Reason:
    if runs == 1:
        return Reason("one_run", needed=needed)
    return Reason("few_runs", runs=runs, needed=needed)
