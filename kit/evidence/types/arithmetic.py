"""What the results of crafted inputs say of how a device computes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from kit.devices.precision import Dtype
from kit.documented import Documented, says

PROBE_SEED = 2026
"""Of the crafted inputs, unless another is asked for."""

Rounding = Literal["none", "nearest_even", "nearest_away", "towards_zero", "unknown"]
Order = Literal["sequential", "blocks", "pairwise", "other", "unknown"]
Subnormals = Literal["kept", "flushed", "unknown"]
Gelu = Literal["erf", "tanh", "unknown"]


class ProductArithmetic(Documented, frozen=True, kw_only=True):
    """How the device multiplies and adds, in one kind of operator."""

    operand_bits: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says(
            "Explicit mantissa bits that it keeps of the operand that loses more: 23 of float32, 11 HF32, "
            "10 TF32 and float16, 7 bfloat16; null where the results fit no number."
        ),
    ]
    rounding: Annotated[
        Rounding,
        says(
            "How the operands lose their other bits; none where they lose none, unknown where the "
            "results fit none of these."
        ),
    ]
    wide_range: Annotated[
        bool | None,
        says("Whether operands keep float32's range of exponents; null for a dtype without it."),
    ]
    subnormal_operands: Annotated[Subnormals, says("What becomes of a subnormal operand.")]
    subnormal_results: Annotated[Subnormals, says("What becomes of a subnormal result.")]
    accumulator_bits: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says(
            "Significant bits of the sum, the leading one among them: 24 float32, 53 float64; null where "
            "nothing was lost, or all."
        ),
    ]
    order: Annotated[
        Order,
        says(
            "Order of 256 summands: one after the other, in blocks whose sums are added up one after the "
            "other, in pairs and pairs of pairs, in another order, or unknown where none shows."
        ),
    ]
    block: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        says("Summands of a block; null for every other order."),
    ]


class FlagContradiction(Documented, frozen=True, kw_only=True):
    """A flag that promises more than the device computes."""

    flag: Annotated[str, says("Name of the flag, as in precision.flags.")]
    operator: Annotated[Literal["matmul", "convolution", "gelu"], says("Where it was found.")]
    promised: Annotated[int | Gelu, says("Mantissa bits at least, or the formula.")]
    found: Annotated[int | Gelu, says("Mantissa bits, or the formula.")]


class ProbedArithmetic(Documented, frozen=True, kw_only=True):
    """What the device computed of inputs crafted so that the result shows how. Nothing here is what the
    device says of itself."""

    dtype: Annotated[Dtype, says("Of the crafted inputs: the run's.")]
    seed: Annotated[int, says("Of the inputs.")]
    matmul: Annotated[
        ProductArithmetic | None, says("Of matrix products; null where they could not be run.")
    ]
    convolution: Annotated[
        ProductArithmetic | None, says("Of convolutions; null where they could not be run.")
    ]
    gelu: Annotated[Gelu, says("The formula behind gelu(approximate='none').")]
    same_as_cpu: Annotated[
        list[str],
        says("Operators that gave, of random inputs, what this machine's CPU gives, bit for bit."),
    ]
    other_than_cpu: Annotated[list[str], says("Operators that gave something else.")]
    failed: Annotated[
        dict[str, str], says("What could not be run, and the error; its findings are unknown.")
    ]
    contradictions: Annotated[
        list[FlagContradiction], says("Flags of the run that the findings contradict.")
    ]

    @property
    def answers_as_cpu(self) -> bool:
        """Whether every operator that ran gave the CPU's result, bit for bit."""
        return bool(self.same_as_cpu) and not self.other_than_cpu
