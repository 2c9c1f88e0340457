"""How far a module's output, and its worst row, is from what it should be, and how far it may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A band around what the emulation predicts: the order of the sums is the device's own.
_TIMES = 3.0
# What a device's own exp or sqrt may be off by, in fp32: 8 units of 2^-24.
_ELEMENTWISE = 2.0**-21
# One rounding a summand, each up to 2^-24 and of either sign, grows as the root of their number.
_A_SUMMAND = 2.0**-23
# Of the worst of many rows, whose errors scatter.
_ROWS = 4.0


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Relative L2 of a tensor against the reference, and of its worst row (of the last dimension) against
    the row's own size, or the rows' root mean square where that is larger."""

    whole: float
    worst_row: float


_NONE = Distance(whole=0.0, worst_row=0.0)
_FAR = Distance(whole=math.inf, worst_row=math.inf)


@dataclass(frozen=True, kw_only=True)
class OwnError:
    """A module's or an operator's own error, what was predicted of it, the largest that this explains, and
    how many times that it is; the last two without what overflows as it is predicted to."""

    own: Distance = _NONE
    predicted: Distance = _NONE
    allowed: Distance = _NONE
    over_band: float = 0.0

    @property
    def unexplained(self) -> bool:
        """Whether it leaves what the active behaviours predict."""
        return not self.over_band <= 1


def distance(found: Tensor, reference: Tensor) -> Distance:
    """Of two tensors of one shape and dtype; infinite where they are not, or where one has numbers and the
    other none."""
    if found.shape != reference.shape:
        return _FAR
    if torch.equal(found, reference):
        return _NONE
    length = reference.shape[-1] if reference.dim() else 1
    errors, sizes = _rows(found - reference, length), _rows(reference, length)
    error, size = _norm(errors), _norm(sizes)
    if not math.isfinite(error + size):
        return _distance_of_finite(found, reference)
    if not error:
        return _NONE
    if not size:
        return _FAR
    typical = size / math.sqrt(len(sizes))
    return Distance(whole=error / size, worst_row=float((errors / sizes.clamp(min=typical)).max()))


def relative_l2(found: Tensor, reference: Tensor) -> float:
    """As distance() has it of the whole."""
    if found.shape == reference.shape:
        error, size = _norm(found - reference), _norm(reference)
        if size and math.isfinite(error + size):
            return error / size
    return distance(found, reference).whole


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def _rows(tensor: Tensor, length: int) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(tensor.reshape(-1, length), dim=-1)
    return norms


def _distance_of_finite(found: Tensor, reference: Tensor) -> Distance:
    """Where something is finite on neither side, of the rest; in float64, which does not overflow."""
    finite = reference.isfinite()
    same = torch.equal(finite, found.isfinite()) and torch.equal(
        reference[~finite].nan_to_num(0.0), found[~finite].nan_to_num(0.0)
    )
    if not same:
        return _FAR
    return distance(*(torch.where(finite, each, 0.0).double() for each in (found, reference)))


def own_error(
    found: Sequence[Tensor],
    reference: Sequence[Tensor],
    emulated: Sequence[Tensor],
    *,
    summands: int,
    unit: float,
) -> OwnError:
    """The worst of own_errors()."""
    return worst_of(own_errors(found, reference, emulated, summands=summands, unit=unit))


def own_errors(
    found: Sequence[Tensor],
    reference: Sequence[Tensor],
    emulated: Sequence[Tensor],
    *,
    summands: int,
    unit: float,
) -> list[OwnError]:
    """Of each of a module's tensors. `summands` is the longest sum of products in it, `unit` the rounding
    of the dtype that it computes in: 2^-24 for float32. Raises ValueError where their number differs."""
    if not len(found) == len(reference) == len(emulated):
        raise ValueError(f"{len(reference)} tensors on the CPU, {len(found)} on the device")
    floor = unit / 2.0**-24 * (_ELEMENTWISE + _A_SUMMAND * math.sqrt(summands))
    each = zip(found, reference, emulated, strict=True)
    return [_of_one(device, plain, under, floor) for device, plain, under in each]


def worst_of(errors: Sequence[OwnError]) -> OwnError:
    """The furthest beside its band; one that cannot be told before all others."""
    worst: OwnError | None = None
    for error in errors:
        if worst is None or not error.over_band <= worst.over_band:
            worst = error
    return worst or OwnError()


def _of_one(device: Tensor, plain: Tensor, under: Tensor, floor: float) -> OwnError:
    if plain.shape != under.shape:
        raise ValueError("its shape is another under the device's arithmetic")
    own = judged = distance(device, plain)
    predicted = finite = _NONE if under is plain else distance(under, plain)
    if not math.isfinite(predicted.whole) and device.shape == plain.shape:
        plain, under = _overflowing_alike(device, plain, under)
        judged, finite = distance(device, plain), distance(under, plain)
    allowed = Distance(
        whole=_TIMES * finite.whole + floor, worst_row=_TIMES * finite.worst_row + _ROWS * floor
    )
    if math.isfinite(allowed.whole):
        over = max(judged.whole / allowed.whole, judged.worst_row / allowed.worst_row)
    else:  # a reference of zeros, beside which no error is relative
        over = _size(device, plain) / (_TIMES * _size(under, plain))
    return OwnError(own=own, predicted=predicted, allowed=allowed, over_band=over)


def _size(tensor: Tensor, reference: Tensor) -> float:
    if tensor.shape != reference.shape:
        return math.inf
    return _norm(torch.where(reference.isfinite(), tensor, 0.0).double())


def _overflowing_alike(device: Tensor, plain: Tensor, under: Tensor) -> tuple[Tensor, Tensor]:
    """Reference and emulation where one of them overflows: whichever of them overflows as the device does
    stands for both, so that nothing infinite is predicted. An infinity may have become a NaN."""
    differ = (plain.isfinite() != under.isfinite()) | (plain.isnan() != under.isnan())
    as_emulated = differ & (device.isfinite() == under.isfinite())
    either = torch.where(device.isnan() | under.isnan(), device, under)
    reference = torch.where(as_emulated, either, plain)
    return reference, torch.where(differ, reference, under)


def exact_error(
    found: Sequence[Tensor], reference: Sequence[Tensor], emulated: Sequence[Tensor]
) -> OwnError:
    """Of integers and booleans: none where each is that of the reference or of the emulation."""
    if not len(found) == len(reference) == len(emulated):
        raise ValueError(f"{len(reference)} tensors on the CPU, {len(found)} on the device")
    for device, plain, under in zip(found, reference, emulated, strict=True):
        if not (_same(device, plain) or _same(device, under)):
            return OwnError(own=_FAR, over_band=math.inf)
    return OwnError()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())
