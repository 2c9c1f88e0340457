"""How far both sides are from the fp64 truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from kit.documented import Documented, says

if TYPE_CHECKING:
    from torch import Tensor


class Error(Documented, frozen=True, kw_only=True):
    """One side's error against the truth; None where it cannot be computed."""

    relative_l2: Annotated[
        float | None, says("||side - golden|| / ||golden||; null where it cannot be computed.")
    ]
    max_abs_diff: Annotated[
        float | None, says("Largest |side - golden|; null where it cannot be computed.")
    ]
    mean_abs_diff: Annotated[
        float | None, says("Mean |side - golden|; null where it cannot be computed.")
    ]


class Truth(Documented, frozen=True, kw_only=True):
    """The device's error against fp64, the CPU fp32's own, and how many times larger the device's
    relative L2 is (None where fp32 has no error)."""

    device: Annotated[Error, says("The device against the golden.")]
    reference: Annotated[Error, says("The CPU fp32 reference against the golden.")]
    ratio: Annotated[
        float | None,
        says("The device's relative L2 error over the CPU fp32's own; null where fp32 has none."),
    ]


def against_truth(
    name: str,
    golden: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
) -> Truth | None:
    """The output `name` of both sides against the golden's; None where there is nothing to compare."""
    sides = (golden.get(name), reference.get(name), device.get(name))
    if any(side is None or not side.is_floating_point() for side in sides):
        return None
    truth, ours, theirs = (side for side in sides if side is not None)
    if not truth.shape == ours.shape == theirs.shape or not truth.numel():
        return None
    device_error, reference_error = _error(truth, theirs), _error(truth, ours)
    own = reference_error.relative_l2
    ratio = device_error.relative_l2 / own if own and device_error.relative_l2 is not None else None
    return Truth(device=device_error, reference=reference_error, ratio=ratio)


def _error(truth: Tensor, side: Tensor) -> Error:
    from kit.accuracy.metrics import measure

    metrics = measure(truth, side)
    return Error(
        relative_l2=metrics.relative_l2,
        max_abs_diff=metrics.max_abs_diff,
        mean_abs_diff=metrics.mean_abs_diff,
    )
