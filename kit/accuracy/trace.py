"""A text step by step, the same tokens forced on both sides: where the device leaves the reference first,
and whether that is the prefill, the cache or the arithmetic of a later step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from kit.accuracy.further import largest_divergence
from kit.accuracy.thresholds import ONE_PERCENT
from kit.documented import Documented, says

if TYPE_CHECKING:
    from torch import Tensor

# The outputs that hold it, logits [batch, steps, vocabulary]: with a cache, and without.
CACHED, UNCACHED = "trace_logits", "trace_logits_uncached"

# Trained networks that compute in 16 bits throughout are 3 to 11 unit roundoffs off.
_ROUNDOFFS = 16

Phase = Literal["prefill", "decode"]


class Step(Documented, frozen=True, kw_only=True):
    """One step, the worst row of the batch by each figure."""

    phase: Annotated[
        Phase, says("Step 0 reads the prompt, each further one a token and the cache.")
    ]
    divergence: Annotated[
        float | None,
        says(
            "Kullback-Leibler divergence of the device's probabilities from the reference's, nats; "
            "null where it is not finite."
        ),
    ]
    rank: Annotated[
        int, says("The device's rank of the reference's likeliest token, from 1.", ge=1)
    ]
    margin: Annotated[
        float | None,
        says("How far the reference separates its first two tokens; null where it is not finite."),
    ]
    relative_l2: Annotated[
        float | None,
        says(
            "||device - reference|| / ||reference||, each without its mean; null where it cannot be "
            "computed."
        ),
    ]
    good: Annotated[
        bool,
        says(
            "Whether the relative L2 is within the limit, and the same token comes first or the "
            "reference's own margin excuses another."
        ),
    ]


class Trace(Documented, frozen=True, kw_only=True):
    """The steps of a text whose tokens are the CPU's, on both sides."""

    steps: Annotated[list[Step], says("In their order, with the cache.")]
    limit: Annotated[
        float,
        says(
            "Largest relative L2 of a good step: 1%, or 16 unit roundoffs of the dtype that the run "
            "was in, where those are more (bfloat16: 6.25%)."
        ),
    ]
    first_bad: Annotated[int | None, says("Number of the first step that is not good; null: none.")]
    fault: Annotated[
        Literal["prefill", "cache", "decode"] | None,
        says(
            "Where the first bad step is: prefill, step 0; cache, a later one that is good without a "
            "cache; decode, a later one that is not. Null where every step is good."
        ),
    ]


def follow(
    reference: Mapping[str, Tensor], device: Mapping[str, Tensor], dtype: str = "float32"
) -> Trace | None:
    """The trace among the outputs of both sides, of a device that computed in `dtype` (torch's name); None
    where there is none, or shapes do not compare."""
    limit = _limit(dtype)
    pairs = [(reference.get(name), device.get(name)) for name in (CACHED, UNCACHED)]
    found = [
        _steps(ours, theirs, limit)
        for ours, theirs in pairs
        if ours is not None and theirs is not None
    ]
    if len(found) != len(pairs) or not all(found):
        return None
    cached, uncached = found
    first = next((number for number, step in enumerate(cached) if not step.good), None)
    return Trace(steps=cached, limit=limit, first_bad=first, fault=_fault(first, uncached))


def _limit(dtype: str) -> float:
    import torch

    roundoff = torch.finfo(getattr(torch, dtype)).eps / 2
    return max(ONE_PERCENT, _ROUNDOFFS * roundoff)


def _fault(first: int | None, uncached: list[Step]) -> Literal["prefill", "cache", "decode"] | None:
    if first is None:
        return None
    if first == 0:
        return "prefill"
    return "cache" if uncached[first].good else "decode"


def _steps(reference: Tensor, device: Tensor, limit: float) -> list[Step]:
    """Each step of logits [batch, steps, vocabulary]; none where the sides do not compare."""
    if reference.shape != device.shape or reference.dim() != 3 or reference.shape[-1] < 2:
        return []
    sides = zip(reference.unbind(1), device.unbind(1), strict=True)
    return [_step(number, ours, theirs, limit) for number, (ours, theirs) in enumerate(sides)]


def _step(number: int, reference: Tensor, device: Tensor, limit: float) -> Step:
    rows = [
        _row(ours.double(), theirs.double(), limit)
        for ours, theirs in zip(reference, device, strict=True)
    ]
    ranks, margins, errors, good = zip(*rows, strict=True)
    known = [margin for margin in margins if margin is not None]
    return Step(
        phase="decode" if number else "prefill",
        divergence=largest_divergence(reference, device),
        rank=max(ranks),
        margin=min(known, default=None),
        relative_l2=None if None in errors else max(errors),
        good=all(good),
    )


def _row(
    reference: Tensor, device: Tensor, limit: float
) -> tuple[int, float | None, float | None, bool]:
    """Rank of the reference's token, its margin, the error, and whether that is within the limit."""
    from kit.accuracy.ranking import top1_dispute  # here: documents are read without numpy

    first, second = reference.topk(2).indices.tolist()
    rank = 1 + int((~(device <= device[first])).sum())  # NaN is above everything
    top = int(device.nan_to_num(float("inf")).argmax())
    own = top1_dispute(reference, device, first, second)
    excused = rank == 1 or top1_dispute(reference, device, first, top).excused
    error = own.row_relative_l2
    return rank, own.margin, error, excused and error is not None and error <= limit
