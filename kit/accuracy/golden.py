"""How far both sides are from the golden: the reference in fp64 from the first to the last operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from kit.documented import Documented, says

if TYPE_CHECKING:
    from torch import Tensor


class Error(Documented, frozen=True, kw_only=True):
    """One side's error against the golden; None where it cannot be computed."""

    relative_l2: Annotated[
        float | None, says("||side - golden|| / ||golden||; null where it cannot be computed.")
    ]
    max_abs_diff: Annotated[
        float | None, says("Largest |side - golden|; null where it cannot be computed.")
    ]
    mean_abs_diff: Annotated[
        float | None, says("Mean |side - golden|; null where it cannot be computed.")
    ]


class AgainstGolden(Documented, frozen=True, kw_only=True):
    """The device's error against the golden, the CPU fp32's own, and how many times larger the device's
    relative L2 is (None where fp32 has no error)."""

    device: Annotated[Error, says("The device against the golden.")]
    reference: Annotated[Error, says("The CPU fp32 reference against the golden.")]
    ratio: Annotated[
        float | None,
        says("The device's relative L2 error over the CPU fp32's own; null where fp32 has none."),
    ]


def against_golden(
    name: str,
    golden: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
) -> AgainstGolden | None:
    """The output `name` of both sides against the golden's; None where there is nothing to compare."""
    sides = (golden.get(name), reference.get(name), device.get(name))
    if any(side is None or not side.is_floating_point() for side in sides):
        return None
    exact, ours, theirs = (side for side in sides if side is not None)
    if not exact.shape == ours.shape == theirs.shape or not exact.numel():
        return None
    device_error, reference_error = _error(exact, theirs), _error(exact, ours)
    own = reference_error.relative_l2
    ratio = device_error.relative_l2 / own if own and device_error.relative_l2 is not None else None
    return AgainstGolden(device=device_error, reference=reference_error, ratio=ratio)


def relative_l2(ours: Tensor, theirs: Tensor, golden: Tensor) -> float:
    """||ours - theirs|| / ||golden||, in fp64; ||ours - theirs|| where the golden is all zero."""
    return _norm(ours.double() - theirs.double()) / (_norm(golden.double()) or 1.0)


def _norm(values: Tensor) -> float:
    return float(values.norm())


def _error(golden: Tensor, side: Tensor) -> Error:
    from kit.accuracy.metrics import distance

    relative, largest, mean = distance(golden, side)
    return Error(relative_l2=relative, max_abs_diff=largest, mean_abs_diff=mean)
