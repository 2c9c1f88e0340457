"""What the timed runs of a record show beside their times: whether they computed what is judged, and
whether the device was waited for. A latency that they contradict is not quoted.
"""

from __future__ import annotations

from kit.accuracy.repeats import Repeat, worse
from kit.evidence.latency import Latency
from kit.evidence.types.run import DeviceNoise
from kit.words import Reason

# What synchronize may leave to be done: less is lost in what a copy takes.
LATE_MS, LATE_SHARE = 0.1, 0.10
# A later run may differ by this many times what the first two differ by: noise of two runs says no
# more of a third than its size, and other arithmetic (fp16 for fp32) differs by hundreds of times.
_NOISE = 10.0


def device_repeats(noise: DeviceNoise) -> dict[str, Repeat]:
    """How repeatable the device is by output: the second run or the last timed one, which differs more
    from the first."""
    timed = noise.timed_repeat
    return {
        name: worse(repeat, timed[name]) if name in timed else repeat
        for name, repeat in noise.device_repeat.items()
    }


def why_no_latency(latency: Latency, noise: DeviceNoise) -> Reason | None:
    """Why no latency may be quoted of timed runs; None where one may be. That something else was timed
    comes first: a busy machine can look like one that returns early."""
    others = [
        name
        for name, repeat in noise.timed_repeat.items()
        if not _same_run(noise.device_repeat.get(name), repeat)
    ]
    if others:
        return Reason("other_output", outputs=others)
    late = latency.unsynchronised_ms
    if late > LATE_MS and late > LATE_SHARE * latency.p50_ms:
        return Reason("early", late=late, median=latency.p50_ms)
    return None


def _same_run(second: Repeat | None, timed: Repeat) -> bool:
    """Bit by bit where the first two runs were equal, else within what those two show of noise."""
    if timed.bit_identical:
        return True
    if second is None or second.bit_identical or not timed.nonfinite_agree:
        return False
    if timed.relative_l2 is None or second.relative_l2 is None:
        return False
    return timed.relative_l2 <= _NOISE * second.relative_l2
