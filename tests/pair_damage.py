"""What damages a pair of outputs in a way of its own, and what its size is measured by."""

from __future__ import annotations

from collections.abc import Callable

import torch

Dice = torch.Generator
Harm = Callable[[Dice, torch.Tensor, torch.Tensor], "torch.Tensor | None"]


def normal(dice: Dice, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=dice)


def uniform(dice: Dice, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=dice))


def choice(dice: Dice, count: int) -> int:
    return int(torch.randint(count, (), generator=dice))


def one_value(dice: Dice, reference: torch.Tensor, device: torch.Tensor) -> torch.Tensor | None:
    """One value off by 20% or more of the largest in its column (of the whole, where that is a row)."""
    at = tuple(choice(dice, size) for size in reference.shape)
    column = reference if len(reference) == 1 else reference[:, at[1]]
    off = uniform(dice, 0.2, 1) * float(column.abs().max())
    other = device.clone()
    other[at] += off if choice(dice, 2) else -off
    if at[-1] == 5:  # a class
        other[at] = (reference[at] + 1 + choice(dice, 78)) % 80
    rounding = float((device - reference).abs().median(0).values.max())
    return other if off > 100 * rounding else None


def one_stretch(dice: Dice, reference: torch.Tensor, device: torch.Tensor) -> torch.Tensor | None:
    """The pause, or another stretch, replaced by noise as loud, or by nothing."""
    begin = (20, choice(dice, 54))[choice(dice, 2)] * 256
    at = (0, slice(begin, begin + 2560))
    other = device.clone()
    other[at] = typical(reference[at]) * normal(dice, 2560) * choice(dice, 2)
    rounding = (device - reference).abs().max()
    return other if norm(other[at] - device[at]) > 20 * float(rounding) * 2560**0.5 else None


def two_classes(dice: Dice, reference: torch.Tensor, device: torch.Tensor) -> torch.Tensor | None:
    """Two classes of one row in each other's place, neither of them rare or like the other."""
    row = choice(dice, len(reference))
    first, second = torch.randperm(reference.shape[1], generator=dice)[:2].tolist()
    ours = reference[row, [first, second]]
    if ours.min() < 0.004 or ours.max() < 1.3 * ours.min():
        return None
    other = device.clone()
    other[row, [first, second]] = device[row, [second, first]]
    rounding = float(((device - reference).abs() / reference).mean())
    return other if rounding < 0.01 else None


def one_block(dice: Dice, reference: torch.Tensor, device: torch.Tensor) -> torch.Tensor | None:
    """A block of a map in another class, or of a picture off by 30 levels."""
    top, left = (choice(dice, size - 16) for size in reference.shape[1:3])
    other, at = device.clone(), (0, slice(top, top + 16), slice(left, left + 16))
    if reference.dim() == 3:
        classes = reference.unique()
        other[at] = classes[choice(dice, len(classes))]
        return other if bool((other[at] != reference[at]).all()) else None
    other[at] = other[at] + torch.where(other[at] < 128, 30, -30).to(torch.uint8)
    return other


def finite(tensor: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(torch.view_as_real(tensor).sum(-1) if tensor.is_complex() else tensor)


def noise_like(dice: Dice, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return torch.complex(normal(dice, *tensor.shape), normal(dice, *tensor.shape)) / 2**0.5
    return normal(dice, *tensor.shape)


def typical(values: torch.Tensor) -> float:
    """The root of the median square."""
    values = values[finite(values)].abs().double()
    return float(values.median()) * 1.5 if values.numel() else 0.0


def norm(values: torch.Tensor) -> float:
    return float(values.abs().double().norm())


def centred(values: torch.Tensor) -> float:
    return norm(values - values.mean()) if values.numel() else 0.0
