"""What the console is told of a run: whether its passes agree, how long they took, and any doubt."""

from __future__ import annotations

from kit.evidence.latency import Latency
from kit.evidence.logs import log
from kit.evidence.trust import why_no_latency
from kit.evidence.types.run import DeviceNoise
from kit.machine.environment import Environment


def tell_repeats(noise: DeviceNoise) -> None:
    """Whether the second run and the last timed one give what the first gave."""
    found = {"second run": noise.device_repeat, "last timed run": noise.timed_repeat}
    same = [
        which
        for which, repeats in found.items()
        if all(repeat.bit_identical for repeat in repeats.values())
    ]
    if same:
        log.info(f"{' and '.join(same)} identical")
    for which in found.keys() - same:
        distances = [repeat.relative_l2 for repeat in found[which].values()]
        known = [distance for distance in distances if distance is not None]
        if len(known) < len(distances):
            log.warning(f"the {which} differs by what cannot be computed")
        else:
            log.warning(f"the {which} differs by a relative L2 of up to {max(known):.3g}")


def tell_latency(latency: Latency, noise: DeviceNoise) -> None:
    """The latency, and what the runs themselves say against it."""
    p90 = "" if latency.p90_ms is None else f", {latency.p90_ms:.2f} p90"
    log.info(
        f"latency {latency.mean_ms:.2f} ms mean, {latency.p50_ms:.2f} p50{p90} over "
        f"{latency.iterations} runs; first call {latency.cold_ms:.2f} ms"
    )
    if reason := why_no_latency(latency, noise):
        log.warning(f"no latency may be quoted: {reason}")
    if latency.spread != "steady":
        much = " much: quote none of these times" if latency.spread == "unstable" else ""
        share = latency.iqr_ms / latency.p50_ms
        log.warning(f"the timed runs vary{much} (interquartile range {share:.0%} of the median)")


def tell_load(environment: Environment) -> None:
    """Where more threads run than cores were idle."""
    threads, idle = environment.threads, environment.idle_cores
    if idle is not None and threads > idle:
        fewer = f", or set OMP_NUM_THREADS={max(1, idle)}" if threads > 1 else ""
        log.warning(
            f"{threads} threads, and {idle} idle cores before the run (load average "
            f"{environment.load_average:.2f}): times may be many times too long; end the other "
            f"work{fewer}"
        )
