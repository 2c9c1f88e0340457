"""charts.json: what a page draws of a comparison."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from kit.documented import Documented, Sha256, says

Edges = Annotated[
    list[Annotated[float, Meta(ge=-324, le=309)]],
    says(
        "Edges of the histogram's bins: log10 of the difference, a quarter of a decade apart. One"
        " more than counts; empty where there is no difference."
    ),
]
Counts = Annotated[
    list[Annotated[int, Meta(ge=0)]], says("Elements from each edge, included, to the next.")
]


class OwnError(Documented, frozen=True, kw_only=True):
    """How far the CPU fp32 reference itself is off the golden; null where the summary has none of
    the output."""

    zeros: Annotated[int, says("Elements at which the reference is the golden.", ge=0)]
    nonfinite: Annotated[int, says("Elements whose difference is no finite number.", ge=0)]
    log10_edges: Edges
    counts: Counts
    difference: Annotated[
        Annotated[list[float | None], Meta(max_length=1000)],
        says(
            "reference - golden at each index of the points, to six significant digits; null where"
            " it is not finite."
        ),
    ]


class ErrorStrip(Documented, frozen=True, kw_only=True):
    """The error along an output; null where it has fewer than four rows and channels."""

    of: Annotated[
        Literal["row", "channel"],
        says(
            "channel: of dimension 1, where there are four dimensions or more; row: vectors of the"
            " last dimension."
        ),
    ]
    count: Annotated[int, says("Rows or channels of the output.", ge=4)]
    relative_l2: Annotated[
        Annotated[list[Annotated[float, Meta(ge=0)] | None], Meta(min_length=4, max_length=256)],
        says(
            "||device - reference|| / ||reference|| of each, to six significant digits; of more than"
            " 256, the largest of neighbours. Null where it cannot be computed."
        ),
    ]


class OutputChart(Documented, frozen=True, kw_only=True):
    """How the differences of one output are spread."""

    reference_sha256: Annotated[
        Sha256, says("Of the reference's output, as in summary.json's reference.outputs.")
    ]
    device_sha256: Annotated[Sha256, says("Of the device's output, as in run.json's outputs.")]
    elements: Annotated[
        int,
        says(
            "Elements of the output; a complex one has two. It is zeros + nonfinite + all counts.",
            ge=1,
        ),
    ]
    zeros: Annotated[int, says("Elements that are equal on both sides.", ge=0)]
    nonfinite: Annotated[int, says("Elements whose difference is no finite number.", ge=0)]
    log10_edges: Edges
    counts: Counts
    index: Annotated[
        Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=1000)],
        says(
            "Points to draw, by their flat index in row-major order: the 100 largest "
            "differences and 900 spread over the output, or all of up to 1000 elements; "
            "only finite ones."
        ),
    ]
    reference: Annotated[
        Annotated[list[float], Meta(max_length=1000)], says("The reference's value at each index.")
    ]
    device: Annotated[
        Annotated[list[float], Meta(max_length=1000)], says("The device's value at each index.")
    ]
    own: OwnError | None
    strip: ErrorStrip | None


class RankedClass(Documented, frozen=True, kw_only=True):
    """One class or token on both sides."""

    index: Annotated[int, says("Class or token id.", ge=0)]
    label: Annotated[str | None, says("Its name; null where none is at hand.")]
    reference: Annotated[float | None, says("The reference's score; null where it is not finite.")]
    device: Annotated[float | None, says("The device's score; null where it is not finite.")]
    reference_rank: Annotated[int, says("Its place by the reference's scores, from 1.", ge=1)]
    device_rank: Annotated[int, says("Its place by the device's.", ge=1)]


class BothTop5(Documented, frozen=True, kw_only=True):
    """The first row of the ranked output (the one top1_match is of), on both sides; null where there is
    none, or it has no figures."""

    output: Annotated[str, says("The ranked output.")]
    classes: Annotated[
        Annotated[list[RankedClass], Meta(max_length=10)],
        says(
            "Every class or token that is among the five largest of either side, in the "
            "reference's order."
        ),
    ]


class Charts(Documented, frozen=True, kw_only=True):
    """Written by compare_accuracy.py beside summary.json, of every output that has figures there. It
    belongs to the run and the comparison whose outputs have its hashes: run.json's for the device,
    summary.json's for the reference."""

    schema_version: Annotated[
        Literal[6], says("Version of this format; a reader refuses another one.")
    ]
    kit_version: Annotated[str, says("Version of the kit that wrote it.")]
    outputs: Annotated[dict[str, OutputChart], says("By output: how its differences are spread.")]
    top5: Annotated[
        BothTop5 | None,
        says(
            "The first row of the ranked output (the one top1_match is of), on both "
            "sides; null where there is none, or it has no figures."
        ),
    ]
