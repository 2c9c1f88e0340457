"""What must be so between the figures of a run's documents, whatever the model and the data: claims in
words, each with its test. Those of one output's metrics are in metric_invariants.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import UNSET

from kit.accuracy.judged import JudgedOutput
from kit.accuracy.judged_samples import JudgedSamples, SampleOutput
from kit.accuracy.repeats import Repeat
from kit.accuracy.sample_verdicts import wilson
from kit.evidence.latency import FEWEST_RUNS, MOST_RUNS, Latency, latency_of
from kit.evidence.metric_invariants import FURTHER, METRICS, RANKING, ordered, same
from kit.evidence.types.run import RecordedSamples, Run
from kit.evidence.types.summary import Summary
from kit.storage.fingerprint import SavedTensor


def broken_claims(run: Run | None, summary: Summary) -> Iterator[str]:
    """The claims that the documents of a run break, in words. May raise what figures of the wrong kind
    make of arithmetic."""
    if run is not None:
        yield from _broken(_LATENCY, run.latency, "latency")
        if run.device is not None:
            yield from _broken(_RECORD, run, "run.json")
    for name, repeat in _repeats(run, summary):
        yield from _broken(_REPEAT, repeat, name)
    if run is None or summary.outputs is None or summary.reference is None:
        return
    yield from _broken(_REFERENCE, summary.reference, "reference")
    yield from _broken(_EXPLANATION, summary.explanation, "explanation")
    if summary.explanation is not None:
        yield from _broken(_RECORDED, (summary.explanation, run), "explanation")
    golden = summary.reference.golden.outputs or {}
    for name, output in summary.outputs.items():
        device, reference = (run.outputs or {}).get(name), summary.reference.outputs.get(name)
        if device is None or reference is None:
            yield from _broken(_ONE_SIDED, output, name)
            continue
        yield from _broken(_OUTPUT, (output, device, reference, golden.get(name)), name)
        yield from _broken(FURTHER, output.further, name)
        if output.metrics is not None:
            yield from _broken(METRICS, output.metrics, name)
            yield from _broken(RANKING, output.metrics.ranking, name)
    if summary.samples is not None:
        samples, recorded = summary.samples, run.samples
        yield from _broken(_SAMPLES, (samples, recorded), "samples")
        for name, found in samples.outputs.items():
            yield from _broken(_SAMPLE_OUTPUT, (found, samples, recorded), f"samples.{name}")


def _repeats(run: Run | None, summary: Summary) -> Iterator[tuple[str, Repeat]]:
    if run and run.noise:
        yield from run.noise.device_repeat.items()
        yield from run.noise.timed_repeat.items()
    if summary.noise:
        yield from summary.noise.device_repeat.items()
        yield from summary.noise.timed_repeat.items()
        yield from (summary.noise.reference_repeat or {}).items()


def _broken(claims: Mapping[str, Callable[..., bool]], subject: Any, name: str) -> Iterator[str]:
    """`subject` is what the tests take: one thing, or a tuple of them; None is not claimed about."""
    if subject is None:
        return
    arguments = subject if isinstance(subject, tuple) else (subject,)
    yield from (f"{name}: {claim}" for claim, holds in claims.items() if not holds(*arguments))


def _elements(tensor: SavedTensor) -> int:
    """Elements of a tensor, a complex one's in pairs as the metrics count them."""
    pair = 2 if tensor.dtype.startswith("complex") else 1
    return pair * int(math.prod(tensor.shape))


def _exact(tensor: SavedTensor) -> bool:
    return tensor.dtype.startswith(("int", "uint", "bool"))


def _sizes(output: JudgedOutput, device: SavedTensor, *others: SavedTensor | None) -> bool:
    metrics, shape = output.metrics, device.shape
    if metrics is None:
        return True
    rows = metrics.ranking.rows * (shape[-1] if shape else 1) if metrics.ranking else None
    return (
        all(other is None or other.shape == shape for other in others)
        and metrics.elements == _elements(device)
        and rows in (None, metrics.elements)
    )


def _figures(output: JudgedOutput, device: SavedTensor, *_: SavedTensor | None) -> bool:
    if output.metrics is not None:
        ranked = output.metrics.ranking is not None
        return output.role != "token_ids" and ranked is (output.role == "logits")
    decided = output.verdict != "PASS" or _exact(device)
    within = (None,) if output.verdict == "PASS" else (None, False)
    return decided and output.within_1_percent in within


_EQUAL = ("equal_integers", "equal_integers_alike", "equal_ids")


def _bytes(
    output: JudgedOutput, device: SavedTensor, reference: SavedTensor, _: SavedTensor | None
) -> bool:
    """The hashes of both sides say whether their bytes are equal."""
    same = device == reference
    if output.metrics is not None:
        return not same or output.metrics.max_abs_diff in (0, None)
    equal = any(reason.code in _EQUAL for reason in output.reasons)
    return output.verdict != "PASS" or device.dtype != reference.dtype or same is equal


def _against_golden(
    output: JudgedOutput, _: SavedTensor, __: SavedTensor, golden: SavedTensor | None
) -> bool:
    errors = output.truth
    if errors is None:
        return True
    own, theirs = errors.reference.relative_l2, errors.device.relative_l2
    ratio = theirs / own if own and theirs is not None else None
    return (
        golden is not None
        and all(
            ordered(0.0, side.relative_l2) and ordered(0.0, side.mean_abs_diff, side.max_abs_diff)
            for side in (errors.reference, errors.device)
        )
        and (errors.ratio is None) is (ratio is None)
        and same(errors.ratio, ratio)
    )


_ONE_SIDED: Mapping[str, Callable[..., bool]] = {
    "what one side does not have cannot be judged": lambda output: (
        output.verdict == "INVALID" and output.metrics is None and output.truth is None
    ),
}

# On an output, and the device's, the reference's and the golden's tensor of its name.
_OUTPUT: Mapping[str, Callable[..., bool]] = {
    "all sides have the elements that were compared": _sizes,
    "there are figures, or integers that need none": _figures,
    "equal bytes have no difference": _bytes,
    "the ratio is of the two errors against the golden": _against_golden,
}

_REFERENCE: Mapping[str, Callable[..., bool]] = {
    "there is a golden, or the reason why not": lambda r: (
        (r.golden.outputs is None) is not (r.golden.reason is None)
    ),
}

_EXPLANATION: Mapping[str, Callable[..., bool]] = {
    "a bad module or an output makes it unexplained": lambda e: (
        e.unexplained
        is (e.first_bad_module is not None or any(o.unexplained for o in e.outputs.values()))
    ),
    "observed over predicted is their ratio": lambda e: all(
        o.observed_over_predicted is None
        or same(o.observed_over_predicted, o.observed_relative_l2 / o.predicted_relative_l2)
        for o in e.outputs.values()
    ),
    "there is a first bad module, or the reason why not": lambda e: (
        (e.first_bad_module is None) is not (e.first_bad_module_reason is None)
    ),
    "a bad module is one of the calls that were looked at": lambda e: (
        e.first_bad_module is None or e.layers is not None
    ),
}

_RECORDED: Mapping[str, Callable[..., bool]] = {
    "module calls are read only from what the run recorded": lambda e, run: (
        e.layers is None
        or e.layers.recorded is UNSET
        or (run.module_calls is not UNSET and run.module_calls.sha256 is not None)
    ),
}

_REPEAT: Mapping[str, Callable[..., bool]] = {
    "two identical runs do not differ": lambda r: (
        not r.bit_identical or (r.relative_l2 == 0 and not r.max_abs_diff and r.nonfinite_agree)
    ),
    "no difference is below 0": lambda r: (r.relative_l2 or 0) >= 0 and (r.max_abs_diff or 0) >= 0,
}


def _follows(t: Latency) -> bool:
    ours = latency_of(
        t.samples_ms,
        cold_ms=t.cold_ms,
        warmup=t.warmup,
        unsynchronised_ms=t.unsynchronised_ms,
    )
    pairs = [(getattr(ours, name), getattr(t, name)) for name in t.__struct_fields__]
    return all(
        math.isclose(a, b, rel_tol=1e-9)
        if isinstance(a, float) and isinstance(b, float)
        else a == b
        for a, b in pairs
    )


_LATENCY: Mapping[str, Callable[..., bool]] = {"the figures are those of samples_ms": _follows}


def _iterations(run: Run) -> bool:
    if (latency := run.latency) is None:
        return True
    asked, runs = run.arguments.iterations, latency.iterations
    expected = FEWEST_RUNS <= runs <= MOST_RUNS if asked is None else runs == asked
    return latency.warmup == run.arguments.warmup and expected


def _fallbacks(run: Run) -> bool:
    proof = run.device_proof
    return proof is None or (proof.fallback_ops is None) is not (proof.fallback_reason is None)


_RECORD: Mapping[str, Callable[..., bool]] = {
    "a simulated NPU is called so, and no other device": lambda r: (
        r.device.simulated is ("Simulated NPU" in r.device.name)
    ),
    "only an NPU is simulated, and only a real one has CANN": lambda r: (
        (r.device.kind == "npu" or not r.device.simulated)
        and (r.device.cann_version is None or (r.device.kind == "npu" and not r.device.simulated))
    ),
    "the timed runs are those asked for": _iterations,
    "operators that fell back are known, or why they are not": _fallbacks,
}


def _severest(s: JudgedSamples) -> str:
    return "INVALID" if s.invalid else "FAIL" if s.failed else "PASS"


def _top1(s: JudgedSamples, _: RecordedSamples) -> bool:
    if (top1 := s.top1) is None:
        return True
    if not 0 <= top1.agree <= top1.count == s.count:
        return False
    low, high = wilson(top1.agree, top1.count)
    ours = (top1.agree / top1.count, low, high)
    theirs = (top1.rate, top1.low, top1.high)
    return all(same(a, b, 1e-12) for a, b in zip(ours, theirs, strict=True))


# On the samples of the summary and of the record.
_SAMPLES: Mapping[str, Callable[..., bool]] = {
    "every sample passes, fails or is invalid": lambda s, r: (
        s.passed + s.failed + s.invalid == s.count == r.count
    ),
    "what is further off than 1% is among them": lambda s, _: 0 <= s.beyond_1_percent <= s.count,
    "the verdict is that of the worst": lambda s, _: s.verdict == _severest(s),
    "there is a reason where one does not pass": lambda s, _: (
        (s.reason is None) is (s.verdict == "PASS")
    ),
    "the rate and its interval are those of the counts": _top1,
}


def _worst(o: SampleOutput, s: JudgedSamples, _: RecordedSamples) -> bool:
    everywhere = o.measured == s.count and o.measured > 0
    return not everywhere or o.worst.relative_l2 == o.max_relative_l2


# On one output over the samples, and the samples of the summary and of the record.
_SAMPLE_OUTPUT: Mapping[str, Callable[..., bool]] = {
    "no more were measured than there are": lambda o, s, _: 0 <= o.measured <= s.count,
    "means are at most the largest, and not below 0": lambda o, *_: (
        ordered(0.0, o.mean_relative_l2, o.max_relative_l2)
        and ordered(0.0, o.mean_max_abs_diff, o.max_max_abs_diff)
    ),
    "the worst sample is one of the run's": lambda o, _, r: (
        o.worst.sample in {entry.name for entry in r.inputs}
    ),
    "the worst sample has the largest error": _worst,
}
