"""A part of an output, and the worst ones: what a verdict and a summary have of them."""

from __future__ import annotations

import math
from typing import Annotated

from kit.documented import Documented, says
from kit.words import Reason


class Part(Documented, frozen=True, kw_only=True):
    """One part of an output, judged by its own scale."""

    dimension: Annotated[
        int | None,
        says(
            "Of a channel, or of the channels of a scale class: their dimension, -1 for "
            "the columns of a table; null for rows and for values within rows."
        ),
    ]
    index: Annotated[
        tuple[int, ...] | None,
        says(
            "A row's index in all dimensions but the last (of a group of rows, the first's; of a row "
            "that is cut, then the stretch's number; of few values, the value's), a channel's in its "
            "dimension; null for a scale class."
        ),
    ]
    members: Annotated[
        int,
        says("How many rows, channels or values a scale class has; 1 for a row or channel.", ge=1),
    ]
    elements: Annotated[int, says("Its elements that are finite on both sides.", ge=0)]
    scale: Annotated[
        float,
        says(
            "Its RMS in the reference; of values within rows, relative to the RMS of their rows.",
            ge=0,
        ),
    ]
    relative_l2: Annotated[
        float | None,
        says(
            "Its own relative L2: as it is, without each side's mean in it, or without "
            "the mean row of each side, the largest that is above the floor; null where "
            "the reference has nothing there and the device has."
        ),
    ]
    max_over_range: Annotated[
        float | None,
        says(
            "Its largest |device - reference| over its largest |reference|, where that is more than "
            "rounding does to one value: twenty times the typical error; null elsewhere."
        ),
    ] = None
    floor: Annotated[
        float | None,
        says(
            "What rounding alone may do there, relative to the same; null where the "
            "reference has nothing there."
        ),
    ]
    slope: Annotated[
        float | None,
        says(
            "Slope of the regression of the device's values on the reference's; null "
            "where it cannot be computed."
        ),
    ]
    above_floor: Annotated[
        bool,
        says(
            "Whether the part counts: its error is above the floor, or, of a scale class,"
            " its values do not follow the reference's. Past 1% it withholds "
            "match_within_1_percent, past 10% it is FAIL."
        ),
    ]

    @property
    def distance(self) -> float:
        """The larger of `relative_l2` and `max_over_range`; infinite where the reference has nothing:
        past every limit."""
        relative = math.inf if self.relative_l2 is None else self.relative_l2
        return max(relative, self.max_over_range or 0.0)


class Parts(Documented, frozen=True, kw_only=True):
    """The worst row, channel and scale class of an output."""

    judged: Annotated[int, says("Rows and channels that have a finite value.", ge=0)]
    unheard: Annotated[
        int,
        says(
            "Those of them that are quieter than what rounding may do there: their loss would not show.",
            ge=0,
        ),
    ] = 0
    row: Annotated[Part | None, says("The worst row; null where there is none.")] = None
    channel: Annotated[Part | None, says("The worst channel; null where there is none.")] = None
    scale_class: Annotated[
        Part | None,
        says(
            "The worst scale class; where there is one scale, all parts together; null where there is none."
        ),
    ] = None
    changed_ids: Annotated[
        tuple[int, int] | None,
        says(
            "The column of a table that is of whole numbers in the reference and of "
            "others on the device, and in how many rows (of few values, the number of one, and 1); "
            "null where there is none."
        ),
    ] = None
    total_variation: Annotated[
        float | None,
        says(
            "Largest half sum of |device - reference| over a row, where rows are "
            "probabilities (not negative, sum 1); null where they are not. Past 10% it is"
            " FAIL."
        ),
    ] = None
    divergence: Annotated[
        float | None,
        says(
            "Largest Kullback-Leibler divergence of the device's row from the "
            "reference's, in nats; null where rows are no probabilities. Past 0.1 it is "
            "FAIL."
        ),
    ] = None

    one_class: Annotated[
        float | None,
        says(
            "Largest |device - reference| / reference of a class that has at least 2^-10, where that is "
            "above twenty times what the median row is off; 0 elsewhere, null where rows are no "
            "probabilities. Past 10% it is FAIL."
        ),
    ] = None

    @property
    def named(self) -> dict[str, Part]:
        """Those that are there, by what they are called."""
        parts = {"row": self.row, "channel": self.channel, "scale class": self.scale_class}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def counting(self) -> dict[str, Part]:
        """Those of them that are above the floor of rounding."""
        return {name: part for name, part in self.named.items() if part.above_floor}


def part_name(name: str) -> Reason:
    """Row, channel or scale class, as a reader of either language has it."""
    return Reason(f"named_{name.replace(' ', '_')}")
