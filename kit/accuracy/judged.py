"""One output of a comparison, as a summary has it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from kit.accuracy.figures import Metrics
from kit.accuracy.further import Further
from kit.accuracy.golden import AgainstGolden
from kit.accuracy.readings import OutputReading
from kit.accuracy.spec import Role
from kit.accuracy.thresholds import Thresholds
from kit.documented import Documented, says
from kit.words import Reason


class JudgedOutput(Documented, frozen=True, kw_only=True):
    """One output, judged."""

    role: Annotated[Role, says("What the output is.")]
    thresholds: Thresholds
    verdict: Annotated[Literal["PASS", "FAIL", "INVALID"], says("Verdict on this output.")]
    reasons: Annotated[Annotated[list[Reason], Meta(min_length=1)], says("Why, with the numbers.")]
    within_1_percent: Annotated[
        bool | None,
        says(
            "As match_within_1_percent, for this output; null for token ids that agree "
            "and where the comparison is invalid."
        ),
    ]
    blank: Annotated[
        bool,
        says(
            "Whether both sides are equal (one value everywhere may be rounded, within the limits) and "
            "hold nothing that could differ (empty, all zero, one value everywhere): PASS beside an "
            "output that passes and holds something, else INVALID."
        ),
    ]
    metrics: Annotated[Metrics | None, says("Null for integers and where shapes do not compare.")]
    further: Annotated[
        Further | None,
        says("Figures that only some outputs have; null where the two sides do not compare."),
    ]
    readings: Annotated[
        dict[str, OutputReading] | None,
        says("The readings of this output; null where no figure is, or the output is blank."),
    ]
    truth: Annotated[
        AgainstGolden | None,
        says("Both sides against the golden; null without one, and for integers."),
    ]
