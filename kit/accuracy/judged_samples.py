"""The samples of --data, judged, as a summary has them."""

from __future__ import annotations

from typing import Annotated, Literal

from kit.documented import Documented, says
from kit.words import Reason


class WorstSample(Documented, frozen=True, kw_only=True):
    """The sample with the largest relative L2, one that has none before all others."""

    sample: Annotated[str, says("Its name in run.json.")]
    relative_l2: Annotated[
        float | None, says("Its relative L2; null where it cannot be computed, and for integers.")
    ]


class SampleOutput(Documented, frozen=True, kw_only=True):
    """One output over all samples."""

    measured: Annotated[
        int,
        says(
            "Samples that the means and maxima are over: all but those whose figures "
            "cannot be computed.",
            ge=0,
        ),
    ]
    worst: Annotated[
        WorstSample,
        says("The sample with the largest relative L2, one that has none before all others."),
    ]
    mean_relative_l2: Annotated[
        float | None, says("Mean of the samples' relative L2; null where none was measured.")
    ]
    max_relative_l2: Annotated[
        float | None, says("Largest relative L2 of a sample; null where none was measured.")
    ]
    mean_max_abs_diff: Annotated[
        float | None,
        says("Mean of the samples' largest |device - reference|; null where none was measured."),
    ]
    max_max_abs_diff: Annotated[
        float | None,
        says("Largest |device - reference| of all samples; null where none was measured."),
    ]


class Top1Rate(Documented, frozen=True, kw_only=True):
    """In how many samples the largest class or token is the reference's, in every row; null where the
    timed forward gives no classes or tokens."""

    output: Annotated[str, says("The ranked output.")]
    agree: Annotated[int, says("Samples that agree; one without a ranking does not.", ge=0)]
    count: Annotated[int, says("All samples.", ge=1)]
    rate: Annotated[float, says("agree / count.", ge=0, le=1)]
    low: Annotated[
        float,
        says(
            "Lower end of the rate's 95% score interval, with p = rate, n = count, z = "
            "1.96: (p + z^2/2n - z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) (E. B. "
            "Wilson, JASA 22 (1927) 209-212). It is about other samples drawn as these "
            "were.",
            ge=0,
            le=1,
        ),
    ]
    high: Annotated[float, says("Its upper end: the same with + before the root.", ge=0, le=1)]


class JudgedSamples(Documented, frozen=True, kw_only=True):
    """The samples of --data, each judged by the rules of the one input; samples.jsonl has the figures of
    each. Null where no --data was given or nothing was compared."""

    count: Annotated[int, says("Samples that were judged.", ge=1)]
    passed: Annotated[int, says("Samples of which every output passes.", ge=0)]
    failed: Annotated[int, says("Samples of which an output fails.", ge=0)]
    invalid: Annotated[int, says("Samples of which an output cannot be judged.", ge=0)]
    beyond_1_percent: Annotated[
        int,
        says(
            "Samples of which an output is further off than match_within_1_percent allows, "
            "or cannot be measured, whatever limits the model declares: none may be where "
            "submission_ready is true.",
            ge=0,
        ),
    ]
    verdict: Annotated[
        Literal["PASS", "FAIL", "INVALID"],
        says(
            "INVALID where any sample is, then FAIL, else PASS. It bears on the summary's"
            " verdict, which alone says whether the device was a CPU."
        ),
    ]
    reason: Annotated[
        Reason | None,
        says(
            "How many do not pass, and why the worst of them does not (INVALID before "
            "FAIL, then by relative L2); null where all pass."
        ),
    ]
    outputs: Annotated[
        dict[str, SampleOutput],
        says("Figures over all samples by output: those of the one forward that is timed."),
    ]
    top1: Annotated[
        Top1Rate | None,
        says(
            "In how many samples the largest class or token is the reference's, in every "
            "row; null where the timed forward gives no classes or tokens."
        ),
    ]
