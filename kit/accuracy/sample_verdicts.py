"""The verdict over many samples: each judged by the same rules as the one input, then counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.accuracy.judged_samples import JudgedSamples, SampleOutput, Top1Rate, WorstSample
from kit.accuracy.outcome import OutputVerdict, Verdict
from kit.accuracy.repeats import Repeat
from kit.accuracy.spec import OutputSpec
from kit.accuracy.verdict import judge_outputs, overall
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

# The standard normal's 97.5th percentile.
_Z = 1.959963984540054
_SEVERITY: tuple[Verdict, ...] = ("PASS", "FAIL", "INVALID")


def wilson(agree: int, count: int) -> tuple[float, float]:
    """The 95% score interval (low, high) of a rate of `agree` in `count` independent samples.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), E. B. Wilson, "Probable inference, the law
    of succession, and statistical inference", JASA 22 (1927) 209-212. Unlike p -+ z sqrt(p(1-p)/n) it
    keeps its level near 0 and 1: all of 5 agreeing says no more than 57% or above.
    """
    rate, z2 = agree / count, _Z * _Z
    centre = rate + z2 / (2 * count)
    half = _Z * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    # Rounding must not put the ends beyond what a rate can be.
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def judge_samples(
    specs: Mapping[str, OutputSpec],
    samples: Iterable[tuple[str, Mapping[str, Tensor], Mapping[str, Tensor]]],
    repeats: Mapping[str, Repeat],
    *,
    ranked: str | None,
    tell: Callable[[Mapping[str, Any]], object],
) -> JudgedSamples:
    """Judge (name, reference's outputs, device's outputs) one after another; all are on the CPU.

    `repeats` are of the device's first batch and stand for all; `ranked` is the output whose top-1
    counts. `tell` takes each sample's figures. Returns the summary's section.
    """
    counts = dict.fromkeys(_SEVERITY, 0)
    totals: dict[str, _Totals] = {}
    top1 = beyond = 0
    worst: tuple[tuple[int, float], Reason] | None = None
    for sample, reference, device in samples:
        forward = {name: specs[name] for name in reference}
        verdicts = judge_outputs(forward, reference, device, repeats)
        verdict = overall(verdicts)
        counts[verdict] += 1
        for name, found in verdicts.items():
            totals.setdefault(name, _Totals()).add(sample, found)
        beyond += any(map(_beyond_1_percent, verdicts.values()))
        top1 += ranked in verdicts and _top1(verdicts[ranked]) is True
        if verdict != "PASS":
            key = (_SEVERITY.index(verdict), max(map(_distance, verdicts.values()), default=0.0))
            if worst is None or key > worst[0]:
                why = Reason("sample", sample=repr(sample), verdict=verdict, why=_why(verdicts))
                worst = key, why
        tell(_line(sample, verdict, verdicts))
    count = sum(counts.values())
    reason = None
    if worst is not None:
        rest = count - counts["PASS"]
        reason = Reason("samples_not_passed", rest=rest, count=count, worst=worst[1])
    verdicts_there: list[Verdict] = [verdict for verdict in _SEVERITY if counts[verdict]]
    return JudgedSamples(
        count=count,
        passed=counts["PASS"],
        failed=counts["FAIL"],
        invalid=counts["INVALID"],
        beyond_1_percent=beyond,
        # A verdict over no sample would be one over nothing.
        verdict=verdicts_there[-1] if verdicts_there else "INVALID",
        reason=reason,
        outputs={name: total.described() for name, total in totals.items()},
        top1=_agreement(ranked, top1, count) if ranked and ranked in totals else None,
    )


@dataclass
class _Totals:
    """Running figures of one output."""

    measured: int = 0
    sum_l2: float = 0.0
    max_l2: float | None = None
    sum_max: float = 0.0
    max_max: float | None = None
    worst: str = ""
    worst_distance: float = -1.0
    worst_l2: float | None = None

    def add(self, sample: str, found: OutputVerdict) -> None:
        """Take in one sample's verdict."""
        if _distance(found) > self.worst_distance:
            self.worst, self.worst_distance = sample, _distance(found)
            self.worst_l2 = found.metrics.relative_l2 if found.metrics else None
        metrics = found.metrics
        if metrics is None or metrics.relative_l2 is None or metrics.max_abs_diff is None:
            return
        self.measured += 1
        self.sum_l2 += metrics.relative_l2
        self.max_l2 = max(self.max_l2 or 0.0, metrics.relative_l2)
        self.sum_max += metrics.max_abs_diff
        self.max_max = max(self.max_max or 0.0, metrics.max_abs_diff)

    def described(self) -> SampleOutput:
        """As the summary has it."""
        return SampleOutput(
            measured=self.measured,
            worst=WorstSample(sample=self.worst, relative_l2=self.worst_l2),
            mean_relative_l2=self.sum_l2 / self.measured if self.measured else None,
            max_relative_l2=self.max_l2,
            mean_max_abs_diff=self.sum_max / self.measured if self.measured else None,
            max_max_abs_diff=self.max_max,
        )


def _beyond_1_percent(found: OutputVerdict) -> bool:
    """Whatever limits passed it; integers that agree have no figures, and are not."""
    judged_by_figures = found.metrics is not None or found.verdict != "PASS"
    return judged_by_figures and found.within_1_percent is not True


def _distance(found: OutputVerdict) -> float:
    """Relative L2, infinite where it cannot be computed; integers that agree are at no distance."""
    if found.metrics is None:
        return 0.0 if found.verdict == "PASS" else math.inf
    return math.inf if found.metrics.relative_l2 is None else found.metrics.relative_l2


def _top1(found: OutputVerdict) -> bool | None:
    """Whether the largest class or token agrees in every row; None where nothing was ranked."""
    ranking = found.metrics.ranking if found.metrics else None
    return None if ranking is None else ranking.top1_agree == ranking.rows


def _why(verdicts: Mapping[str, OutputVerdict]) -> list[Reason]:
    reasons = [
        Reason("output", output=name, why=found.reasons)
        for name, found in verdicts.items()
        if found.verdict != "PASS"
    ]
    return reasons or [Reason("no_outputs")]


def _agreement(output: str, agree: int, count: int) -> Top1Rate:
    low, high = wilson(agree, count)
    return Top1Rate(output=output, agree=agree, count=count, rate=agree / count, low=low, high=high)


def _line(sample: str, verdict: str, verdicts: Mapping[str, OutputVerdict]) -> dict[str, Any]:
    figures = "relative_l2 max_abs_diff mean_abs_diff max_over_range cosine_similarity".split()
    return {
        "sample": sample,
        "verdict": verdict,
        "outputs": {
            name: {
                "verdict": found.verdict,
                "reasons": found.reasons,
                **{figure: getattr(found.metrics, figure, None) for figure in figures},
                "top1_agree": _top1(found),
            }
            for name, found in verdicts.items()
        },
    }
