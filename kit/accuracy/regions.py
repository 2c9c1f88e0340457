"""Maps of classes: integers or a mask over a plane, of which rounding may move a border by a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.accuracy.blocks import blocks
from kit.accuracy.thresholds import LOST, ONE_PERCENT

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = 32  # pixels of a side: less is no plane
# How far neighbours must be alike, from what chance makes of the same classes (0) to everywhere (1): a
# table of ids, one-hot rows and the edges of a graph are as chance makes them, lines of a pixel at 0.5.
_ALIKE = 0.6
_MOST_CLASSES = 256
_FEW = 8  # pixels: so small a region comes and goes where two classes tie all over it
LEVELS = 32  # values of a picture at least, most of whose steps are by one: no map of classes
_VOCABULARY = 1 << 21  # fp32 has numbers that are not whole up to four times that
_SMALL, _SMALL_SHARE = 128, 1 / 16  # bf16 has numbers that are not whole below


@dataclass(frozen=True, kw_only=True)
class Regions:
    """How two maps differ: `changed` of `pixels`, `strayed` of them where no neighbour is of another class
    in the reference, `borders` pixels that have such a neighbour, and the smallest intersection over union
    of a class, with the class (1 where no more than eight pixels of each change)."""

    pixels: int
    changed: int
    strayed: int
    borders: int
    least_iou: float
    least_class: int

    @property
    def rounding(self) -> bool:
        """Whether rounding explains it: borders moved by a pixel, few of them, and no region gone. Where
        two classes tie, a pixel of the other may appear: seldom beside the borders that moved."""
        return (
            self.strayed <= LOST * self.changed
            and self.changed <= ONE_PERCENT * self.borders
            and self.least_iou >= 1 - LOST
        )


def compare_maps(reference: Tensor, device: Tensor) -> Regions | None:
    """Of two integer tensors [..., height, width] of one shape; None where they are no maps: a plane
    of few classes in which neighbours are alike far more often than by chance."""
    import torch

    if reference.dim() < 2 or min(reference.shape[-2:]) < _LEAST:
        return None
    height, width = reference.shape[-2:]
    ours, theirs = (side.reshape(-1, height, width) for side in (reference, device))
    classes = _classes(ours)
    if classes is None:
        return None
    alike = total = gradual = changed = strayed = borders = 0
    common = torch.zeros(3, len(classes), dtype=torch.int64)
    for _, r, d in blocks(ours, theirs, 1 << 20, row=height * width):
        r, d = (side.reshape(-1, height, width).long() for side in (r, d))
        for steps in (r.diff(dim=-1).abs(), r.diff(dim=-2).abs()):
            alike, total = alike + int((steps == 0).sum()), total + steps.numel()
            gradual += int((steps == 1).sum())
        moved, border = r != d, r != r
        for neighbour in _neighbours(r):
            border |= neighbour != r
        changed += int(moved.sum())
        strayed += int((moved & ~border).sum())
        borders += int(border.sum())
        for number, value in enumerate(classes.tolist()):
            mine, other = r == value, d == value
            common[:, number] += torch.stack([mine.sum(), other.sum(), (mine & other).sum()])
    by_chance = float((common[0] / reference.numel()).square().sum())
    picture = len(classes) >= LEVELS and 2 * gradual > total - alike
    if alike / total - by_chance < _ALIKE * (1 - by_chance) or picture:
        return None
    union = common[0] + common[1] - common[2]
    iou = (common[2] / union.clamp(min=1)).where(union - common[2] > _FEW, 1.0)
    return Regions(
        pixels=reference.numel(),
        changed=changed,
        strayed=strayed,
        borders=borders,
        least_iou=float(iou.min()),
        least_class=int(classes[iou.argmin()]),
    )


def as_whole(tensor: Tensor) -> Tensor | None:
    """The integers of a floating tensor that has whole numbers only; None where it has others."""
    if tensor.is_complex() or not tensor.dim():
        return None
    for _, values, _ in blocks(tensor, tensor, 1 << 16):  # most tensors end it at the first block
        values = values.double()
        if not bool(((values == values.round()) & (values.abs() < 2**31)).all()):
            return None
    return tensor.long()


def are_ids(tensor: Tensor) -> bool:
    """Whether whole numbers are meant to be whole, and are not what a format makes of large values: none
    is beyond any vocabulary, and many are small, or some need more bits than a 16-bit format has. A plane
    of small ones may be an image, whose values round to a neighbour."""
    import torch

    if float(tensor.double().abs().max()) >= _VOCABULARY:
        return False
    halves = (tensor.to(dtype).to(tensor.dtype) for dtype in (torch.bfloat16, torch.float16))
    if not any(torch.equal(half, tensor) for half in halves):
        return True
    plane = tensor.dim() > 1 and min(tensor.shape[-2:]) >= _LEAST
    return not plane and bool((tensor.abs() < _SMALL).double().mean() >= _SMALL_SHARE)


def _classes(maps: Tensor) -> Tensor | None:
    found = maps.unique()
    return found.long() if 1 < len(found) <= _MOST_CLASSES else None


def _neighbours(maps: Tensor) -> Iterator[Tensor]:
    """The eight neighbours of every pixel, one after another; at the edge, itself."""
    import torch

    height, width = maps.shape[-2:]
    of_rows, of_columns = torch.arange(height), torch.arange(width)
    for down in (-1, 0, 1):
        rows = maps[:, (of_rows + down).clamp(0, height - 1)]
        for right in (-1, 0, 1):
            if (down, right) != (0, 0):
                yield rows[..., (of_columns + right).clamp(0, width - 1)]
