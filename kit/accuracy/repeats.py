"""How two runs of one side differ: whether a device, or the reference, is repeatable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from kit.accuracy.dtypes import is_exact, why_unreadable
from kit.accuracy.thresholds import REPEATABLE
from kit.documented import Documented, says
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor


class Repeat(Documented, frozen=True, kw_only=True):
    """How two runs of one side differ on one output."""

    bit_identical: Annotated[bool, says("Whether all elements are equal.")]
    relative_l2: Annotated[
        float | None, says("||second - first|| / ||first||; null where it cannot be computed.")
    ]
    nonfinite_agree: Annotated[bool, says("Whether non-finite values agree in kind and position.")]
    max_abs_diff: Annotated[
        float | None, says("Largest difference; null for token ids and where nothing is finite.")
    ] = None


# For outputs of which only one run was saved; never for a run of the kit's own, which has two.
ASSUMED_REPEATABLE = Repeat(
    bit_identical=True, relative_l2=0.0, nonfinite_agree=True, max_abs_diff=0.0
)


def compare_runs(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Repeat]:
    """Repeatability of every output of two runs on the same input. `first` is on the CPU; what of
    `second` is not is copied there one after another."""
    return {name: _repeat(first[name], second[name].cpu()) for name in first}


def worse(a: Repeat, b: Repeat) -> Repeat:
    """That of two repetitions of one run which differs more from it."""

    def distance(repeat: Repeat) -> tuple[bool, bool, bool, float]:
        unknown = repeat.relative_l2 is None
        different = not repeat.bit_identical
        return not repeat.nonfinite_agree, unknown, different, repeat.relative_l2 or 0.0

    return max(a, b, key=distance)


def unrepeatable(repeat: Repeat, error: float | None) -> Reason | None:
    """How two runs of one side differ beyond what is allowed for the measured `error` (relative L2 of
    device and reference); None where they do not."""
    if repeat.bit_identical:
        return None
    if not repeat.nonfinite_agree:
        return Reason("repeat_nonfinite")
    allowed = max(REPEATABLE, (error or 0.0) / 2)
    if repeat.relative_l2 is None:
        return Reason("repeat_not_computed")
    if repeat.relative_l2 > allowed:
        return Reason("repeat_apart", error=repeat.relative_l2, allowed=allowed)
    return None


def _repeat(first: Tensor, second: Tensor) -> Repeat:
    import torch

    from kit.accuracy.metrics import measure

    if first.shape != second.shape:
        return Repeat(bit_identical=False, relative_l2=None, nonfinite_agree=False)
    try:
        same_values = torch.equal(first, second)  # the rule; never so with a NaN
    except NotImplementedError:  # formats of 8 bits and fewer
        same_values = first.dtype == second.dtype and _bytes(first) == _bytes(second)
    if same_values:
        return Repeat(bit_identical=True, relative_l2=0.0, nonfinite_agree=True, max_abs_diff=0.0)
    if is_exact(first) or why_unreadable(first) or why_unreadable(second):
        return Repeat(bit_identical=False, relative_l2=None, nonfinite_agree=True)
    metrics = measure(first, second)
    same = metrics.positions_agree and metrics.max_abs_diff in (0.0, None)
    return Repeat(
        bit_identical=same,
        relative_l2=0.0 if same else metrics.relative_l2,
        nonfinite_agree=metrics.positions_agree,
        max_abs_diff=metrics.max_abs_diff,
    )


def _bytes(tensor: Tensor) -> bytes:
    import torch

    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
