"""What explains the device's error, as far as the kit can say."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from kit.documented import Documented, Sha256, says
from kit.words import Reason

CureWay = Literal["strict", "cpu"]


class ExplainedOutput(Documented, frozen=True, kw_only=True):
    """One output's error against the golden, beside what the recorded flags predict."""

    observed_relative_l2: Annotated[
        float, says("The device's relative L2 error against the golden.")
    ]
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
            "1 - (||device - emulated|| / ||device - golden||)^2, emulated being the CPU under the "
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
            "What it changes in each output, relative to the golden's norm; null where it was not tried."
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


class ModuleOperator(Documented, frozen=True, kw_only=True):
    """An operator that runs in a module, without those of the modules that it calls."""

    name: Annotated[str, says("ATen's name, such as aten::addmm.")]
    shapes: Annotated[list[list[int]], says("Of the floating point tensors that it takes.")]
    calls: Annotated[int, says("Calls of it with these shapes.", ge=1)]


class WrongOperator(Documented, frozen=True, kw_only=True):
    """The operator in a bad module whose own error is the furthest from what is explained."""

    name: Annotated[str, says("ATen's name.")]
    shapes: Annotated[list[list[int]], says("Of the floating point tensors that it takes.")]
    own_relative_l2: Annotated[
        float | None, says("Its error against fp64 on the same tensors; null where not finite.")
    ]
    explained_up_to: Annotated[
        float | None,
        says("The largest relative L2 that the arithmetic explains; null where not finite."),
    ]


class BadModule(Documented, frozen=True, kw_only=True):
    """A module whose own error, on what it took on the device, is above what the arithmetic that was found
    there explains."""

    name: Annotated[str, says("Its path in the model; (model) for the model itself.")]
    kind: Annotated[str, says("Its class.")]
    call: Annotated[int, says("Which call of it in the forward, from 0.", ge=0)]
    own_relative_l2: Annotated[
        float | None,
        says("Relative L2 against the CPU on the same input; null where not finite."),
    ]
    predicted_relative_l2: Annotated[
        float | None, says("Of the CPU under the device's arithmetic; null where not finite.")
    ]
    explained_up_to: Annotated[
        float | None,
        says("The end of the predicted band: 3 times that and fp32's own; null where not finite."),
    ]
    over_band: Annotated[
        float | None,
        says(
            "The own error, or that of its worst row, over the end of its band; null where not finite."
        ),
    ]
    operators: Annotated[
        list[ModuleOperator],
        says(
            "What runs in it, without inner modules; on the CPU, where the device was not at hand."
        ),
    ]
    wrong_operator: Annotated[
        WrongOperator | None,
        says(
            "Null where no single operator of it is to blame by itself, or the device was not at hand."
        ),
    ]
    reproduction: Annotated[
        str | None,
        says("The script in logs/ that shows the operator alone; null with reproduction_reason."),
    ]
    reproduction_reason: Annotated[
        Reason | None, says("Why there is none; null where there is one.")
    ]


class CheapestCure(Documented, frozen=True, kw_only=True):
    """A smallest set of modules that was found to turn the FAIL into a PASS when it runs another way, seen
    by running it so on the device."""

    way: Annotated[
        CureWay,
        says(
            "strict: their own operators with the flags of reduced precision off; cpu: on the CPU, in fp32."
        ),
    ]
    modules: Annotated[list[str], says("Without the modules that they call.", min_length=1)]
    relative_l2: Annotated[
        dict[str, float | None],
        says("The error to expect then, against the CPU's fp32, by output; null as in outputs."),
    ]
    forwards: Annotated[int, says("Forwards on the device that the search took.", ge=1)]


class LayersFile(Documented, frozen=True, kw_only=True):
    """layers.csv: every call of every module."""

    sha256: Annotated[Sha256, says("Of the file.")]
    checked: Annotated[int, says("Calls whose own error was measured.", ge=0)]
    not_checked: Annotated[int, says("Calls that could not be run again alone.", ge=0)]
    recorded: Annotated[
        Literal[True] | UnsetType,
        says(
            "True where the device was not at hand, and its side was read from "
            "module_calls.safetensors; absent where it ran."
        ),
    ] = UNSET


class Explanation(Documented, frozen=True, kw_only=True):
    """Which arithmetic explains the error, of the outputs of the one forward that is timed, and where
    something else is going on."""

    outputs: Annotated[dict[str, ExplainedOutput], says("By output; empty with not_attributed.")]
    behaviours: Annotated[
        list[FoundBehaviour],
        says(
            "Those that a device of this kind may have; empty for a CPU, and with not_attributed."
        ),
    ]
    not_attributed: Annotated[
        Reason | None, says("Why the outputs' error is not explained; null where it is.")
    ]
    unexplained: Annotated[
        bool,
        says("True where there is a first bad module, or the error of an output is unexplained."),
    ]
    first_bad_module: Annotated[
        BadModule | None, says("Where something else is going on; null with its reason.")
    ]
    first_bad_module_reason: Annotated[
        Reason | None, says("Why first_bad_module is null; null where it is not.")
    ]
    layers: Annotated[LayersFile | None, says("Null where --localize was not given.")]
    cheapest_cure: Annotated[
        CheapestCure | None, says("What would make a FAIL pass; null with its reason.")
    ]
    cheapest_cure_reason: Annotated[
        Reason | None, says("Why cheapest_cure is null; null where it is not.")
    ]


def attributed(
    outputs: dict[str, ExplainedOutput],
    behaviours: list[FoundBehaviour],
    not_attributed: Reason | None = None,
) -> Explanation:
    """What is known without --localize."""
    return Explanation(
        outputs=outputs,
        behaviours=behaviours,
        not_attributed=not_attributed,
        unexplained=any(output.unexplained for output in outputs.values()),
        first_bad_module=None,
        first_bad_module_reason=Reason("not_localised"),
        layers=None,
        cheapest_cure=None,
        cheapest_cure_reason=Reason("not_localised"),
    )
