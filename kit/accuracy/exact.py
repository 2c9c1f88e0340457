"""The verdict on integers, and on whole numbers that are stored as floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.accuracy.judged_figures import judge_metrics
from kit.accuracy.metrics import measure
from kit.accuracy.outcome import OutputVerdict, blank_of, fail, invalid
from kit.accuracy.regions import LEVELS, are_ids, as_whole, compare_maps
from kit.accuracy.repeats import Repeat
from kit.accuracy.thresholds import ONE_PERCENT, Thresholds
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor


def judge_exact(reference: Tensor, device: Tensor, repeat: Repeat) -> OutputVerdict:
    """Judge integers or truth values of one shape: equal, a map whose borders moved, or levels."""
    import torch

    if not repeat.bit_identical:
        return invalid(Reason("other_integers"))
    different = int((reference.to(torch.int64) != device.to(torch.int64)).sum())
    if not different:
        count = reference.numel()
        first = reference.flatten()[0]
        if reference.numel() > 1 and bool((reference == first).all()):
            return blank_of(Reason("equal_integers_alike", count=count, value=int(first)))
        reason = Reason("equal_integers", count=count)
        return OutputVerdict(verdict="PASS", reasons=(reason,), within_1_percent=None)
    if verdict := _judge_map(reference, device):
        return verdict
    if not _are_levels(reference):
        return fail(Reason("integers_differ", different=different, count=reference.numel()))
    level = 1 / int(reference.int().abs().max())
    thresholds = Thresholds(
        max_over_range=max(ONE_PERCENT, level), reason="a value may round to the next level"
    )
    return judge_metrics(measure(reference, device), repeat, thresholds)


def _are_levels(tensor: Tensor) -> bool:
    """Whether 8-bit integers are levels of a quantity (a picture, a quantised output): enough of them, and
    enough different ones, to be no ids."""
    return tensor.element_size() == 1 and len(tensor.unique()) >= LEVELS and tensor.numel() >= 256


def judge_whole(reference: Tensor, device: Tensor) -> OutputVerdict | None:
    """Judge classes or ids that are stored as floats; None where they are none, or equal."""
    ours = as_whole(reference)
    theirs = None if ours is None else as_whole(device)
    if ours is None or theirs is None:
        return None
    if verdict := _judge_map(ours, theirs):
        return verdict
    different = int((ours != theirs).sum())
    if not different or not are_ids(reference):
        return None
    return fail(Reason("whole_differ", different=different, count=ours.numel()))


def _judge_map(reference: Tensor, device: Tensor) -> OutputVerdict | None:
    """Judge two maps of classes; None where they are none, or equal."""
    regions = compare_maps(reference, device)
    if regions is None or not regions.changed:
        return None
    reason = Reason(
        "map",
        changed=regions.changed,
        pixels=regions.pixels,
        strayed=regions.strayed,
        borders=regions.borders,
        iou=regions.least_iou,
        least=regions.least_class,
    )
    if not regions.rounding:
        return fail(reason)
    return OutputVerdict(verdict="PASS", reasons=(reason,), within_1_percent=None)
