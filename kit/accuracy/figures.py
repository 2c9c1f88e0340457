"""The figures of one output, as types: each field says what it means. They are light to import, so that
documents can be read and written without the libraries that measure."""

from __future__ import annotations

import math
from typing import Annotated

from kit.accuracy.part import Parts
from kit.accuracy.thresholds import LOST
from kit.documented import Documented, says
from kit.words import Reason


class RankedRow(Documented, frozen=True, kw_only=True):
    """One row of classes whose two top-1 differ, with what decides whether that matters."""

    row: Annotated[int, says("Row, counted over all leading dimensions.")]
    reference_top1: Annotated[int, says("The reference's largest class.")]
    device_top1: Annotated[int, says("The device's largest class.")]
    margin: Annotated[
        float | None, says("How far the reference separates the two; null where it is not finite.")
    ]
    noise_p99: Annotated[
        float,
        says(
            "99th percentile of |diff| over the row without the two, and what rounding to the "
            "16-bit format that holds the whole row may do to the two. Errors are without "
            "their mean. The dispute is excused where margin < 2 noise_p99 and "
            "row_relative_l2 is at most 10%."
        ),
    ]
    row_relative_l2: Annotated[
        float | None,
        says(
            "||device - reference|| / ||reference|| of the row, each without its mean; "
            "null where it cannot be computed."
        ),
    ]

    @property
    def excused(self) -> bool:
        """The reference separates the two classes by less than twice the error of a row that is
        itself not lost: a row of garbage has an error that would excuse anything."""
        return (
            self.margin is not None
            and self.row_relative_l2 is not None
            and self.margin < 2 * self.noise_p99
            and self.row_relative_l2 <= LOST
        )

    def told(self) -> Reason:
        """What separates the two, beside the row's error."""
        noise = 2 * self.noise_p99
        if self.margin is None or self.row_relative_l2 is None:
            return Reason("dispute_unknown", noise=noise)
        return Reason("dispute", margin=self.margin, noise=noise, error=self.row_relative_l2)


class Ranking(Documented, frozen=True, kw_only=True):
    """Agreement over all rows of the last dimension."""

    rows: Annotated[int, says("Rows of the output.")]
    top1_agree: Annotated[int, says("Rows with the same largest class.")]
    top5_agree: Annotated[int, says("Rows with the same five largest classes, as sets.")]
    smallest_margin: Annotated[
        float | None,
        says(
            "Smallest distance of the reference's first and second class over all rows; "
            "null where it is not finite."
        ),
    ]
    softmax_max_diff: Annotated[
        float | None,
        says("Largest difference of two softmax probabilities; null where one cannot be computed."),
    ]
    explained: Annotated[
        float,
        says(
            "Rows whose largest class errors of their size are expected to change: the sum of "
            "exp(-m^2 / 4 s^2) / 2 over the margins m of the reference's first class over the "
            "next four, with s the standard deviation of the row's error; Q(x) <= exp(-x^2 / 2) "
            "/ 2 bounds the chance of each. More than twice that, and three standard deviations "
            "and two, is FAIL.",
            ge=0,
        ),
    ]
    disputed: Annotated[
        tuple[RankedRow, ...],
        says("Rows whose largest class differs, up to the sixteenth that nothing excuses."),
    ]

    @property
    def allowed(self) -> float:
        """How many rows may change their top-1: three standard deviations of a rare event's count
        above twice what is expected, and two."""
        return 2 * self.explained + 3 * math.sqrt(self.explained) + 2


class NonFinite(Documented, frozen=True, kw_only=True):
    """Counts of the values of one side that are no numbers."""

    nan: Annotated[int, says("NaN values; with one in the reference, nothing is judged.")]
    pos_inf: Annotated[int, says("Positive infinities.")]
    neg_inf: Annotated[int, says("Negative infinities.")]

    @property
    def total(self) -> int:
        """All of them."""
        return self.nan + self.pos_inf + self.neg_inf


class Side(Documented, frozen=True, kw_only=True):
    """One side's own figures, over the positions where both are finite; None where there are none."""

    min: Annotated[float | None, says("Smallest value; null where nothing is finite.")]
    max: Annotated[float | None, says("Largest value; null where nothing is finite.")]
    mean: Annotated[float | None, says("Mean value; null where nothing is finite.")]
    nonfinite: NonFinite


class Close(Documented, frozen=True, kw_only=True):
    """Whether |device - reference| <= atol + rtol |reference| everywhere (equal infinities are)."""

    atol: Annotated[float, says("Absolute tolerance.")]
    rtol: Annotated[float, says("Relative tolerance.")]
    allclose: Annotated[bool, says("Whether every element is within both together.")]


class Metrics(Documented, frozen=True, kw_only=True):
    """Figures of the device against the reference, null where there is no finite value or no norm to
    divide by."""

    elements: Annotated[
        int,
        says(
            "Elements of the output; a complex one has two, its real and its imaginary part.", ge=1
        ),
    ]
    finite: Annotated[int, says("Positions that are finite on both sides.", ge=0)]
    max_abs_diff: Annotated[
        float | None, says("Largest |device - reference|; null where nothing is finite.")
    ]
    max_abs_index: Annotated[
        tuple[int, ...] | None, says("Where that is; null where max_abs_diff is.")
    ]
    reference_at_max: Annotated[
        float | None, says("The reference there; null where max_abs_diff is.")
    ]
    device_at_max: Annotated[float | None, says("The device there; null where max_abs_diff is.")]
    mean_abs_diff: Annotated[
        float | None, says("Mean |device - reference|; null where nothing is finite.")
    ]
    rmse: Annotated[
        float | None, says("Root of the mean squared difference; null where nothing is finite.")
    ]
    relative_l2: Annotated[
        float | None,
        says("||device - reference|| / ||reference||; null for an all-zero reference."),
    ]
    relative_l2_centred: Annotated[
        float | None,
        says(
            "The same with each side's mean taken away; null where nothing is left beside the mean."
        ),
    ]
    max_over_range: Annotated[
        float | None,
        says("max|device - reference| / max|reference|; null for an all-zero reference."),
    ]
    cosine_similarity: Annotated[float | None, says("In fp64; null where a side is all zero.")]
    one_minus_cosine: Annotated[
        float | None,
        says(
            "1 - cosine similarity, not taken from the rounded one; null where a side is all zero."
        ),
    ]
    snr_db: Annotated[
        float | None,
        says(
            "20 log10(||reference|| / ||device - reference||), decibels; null without any"
            " error or for an all-zero reference."
        ),
    ]
    share_within_1e_2: Annotated[
        float, says("Part of all elements with |device - reference| <= 1e-2 |reference|.")
    ]
    share_within_1e_3: Annotated[float, says("The same for 1e-3.")]
    share_within_1e_4: Annotated[float, says("The same for 1e-4.")]
    mean_relative: Annotated[
        float | None,
        says(
            "Mean of |device - reference| / |reference| where the reference is not 0; "
            "null where it always is."
        ),
    ]
    mean_relative_big: Annotated[
        float | None, says("The same where |reference| > 0.01; null where it never is.")
    ]
    allclose: Annotated[
        bool,
        says(
            "|device - reference| <= 0.05 + 0.01 |reference| everywhere, infinities equal, no NaN."
        ),
    ]
    close: Annotated[tuple[Close, ...], says("The same for several pairs of tolerances.")]
    positions_agree: Annotated[bool, says("Whether non-finite values agree in kind and position.")]
    reference: Annotated[Side, says("The reference's own figures.")]
    device: Annotated[Side, says("The device's own figures.")]
    parts: Annotated[Parts, says("The parts of the output, each by its own scale.")]
    reference_fills: Annotated[
        tuple[float, ...],
        says(
            "Finite values of the reference that mask positions, as infinities do: "
            "extreme ones that many positions share. They count as infinities."
        ),
    ] = ()
    device_fills: Annotated[tuple[float, ...], says("Those of the device.")] = ()
    ranking: Annotated[
        Ranking | None,
        says("Agreement over the last dimension; null for outputs without classes or tokens."),
    ] = None

    @property
    def reference_max_abs(self) -> float | None:
        """max|r|."""
        if self.reference.min is None or self.reference.max is None:
            return None
        return max(abs(self.reference.min), abs(self.reference.max))
