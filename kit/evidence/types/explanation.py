"""What explains the device's error, as far as the kit can say."""

from __future__ import annotations

from typing import Annotated

from kit.documented import Documented, says
from kit.words import Reason


class ExplainedOutput(Documented, frozen=True, kw_only=True):
    """One output's error against fp64, beside what the recorded flags predict."""

    observed_relative_l2: Annotated[float, says("The device's relative L2 error against fp64.")]
    fp32_relative_l2: Annotated[float, says("The CPU fp32's own.")]
    predicted_relative_l2: Annotated[
        float,
        says("Of the CPU under the behaviours that the recorded flags say were active."),
    ]
    observed_over_predicted: Annotated[
        float | None, says("The two, divided; null where nothing is predicted.")
    ]
    explained_share: Annotated[
        float | None,
        says(
            "1 - (||device - emulated|| / ||device - fp64||)^2, emulated being the CPU under the "
            "behaviours that were found; null where the error is fp32's own: up to 3 times the CPU's."
        ),
    ]
    unexplained: Annotated[
        bool,
        says(
            "The error is above 3 times the larger of the predicted one and 5 times the CPU fp32's: "
            "what a wrong operator looks like."
        ),
    ]


class FoundBehaviour(Documented, frozen=True, kw_only=True):
    """One way in which a device may deviate from fp32, and whether this one does."""

    name: Annotated[str, says("hf32_conv, hf32_matmul, gelu_tanh, ... (kit/arithmetic).")]
    active: Annotated[
        bool | None, says("What the recorded flags say; null where none says anything.")
    ]
    identifiable: Annotated[
        bool, says("Whether this model's outputs could tell it from everything else.")
    ]
    why: Annotated[Reason | None, says("Why it is not identifiable; null where it is.")]
    found: Annotated[
        bool | None,
        says("Whether the device's error holds it; null where it is not identifiable."),
    ]
    relative_l2: Annotated[
        dict[str, float] | None,
        says(
            "What it changes in each output, relative to fp64's norm; null where it was not tried."
        ),
    ]
    relative_l2_without: Annotated[
        dict[str, float] | None,
        says(
            "The error to expect of each output once it is switched off; null unless it was found or "
            "not tried."
        ),
    ]
    switch: Annotated[
        str | None, says("What switches it off; null where nothing does, as on an older chip.")
    ]


class Explanation(Documented, frozen=True, kw_only=True):
    """Which arithmetic explains the error, of the outputs of the one forward that is timed."""

    outputs: Annotated[dict[str, ExplainedOutput], says("By output.")]
    behaviours: Annotated[
        list[FoundBehaviour],
        says("Those that a device of this kind may have; empty for a CPU."),
    ]
    first_bad_module: Annotated[
        None, says("Where something else is going on; null: this comparison did not look for it.")
    ]
