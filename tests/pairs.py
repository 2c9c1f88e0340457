"""Pairs of outputs by seed, of which each is known to be right or wrong.

A right pair is one small network computed twice, in fp32 and in another arithmetic that stays within 1%
of the whole output. A wrong one is a right one of which a part was then damaged: replaced, permuted,
scaled by 1.2 or more, or noised by 20% or more. What was done must exceed what rounding did there ten
times: else nobody could tell it apart, and the pair counts for neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from arithmetic import ARITHMETICS, EXACT, Arithmetic
from pair_damage import Dice, centred, choice, finite, noise_like, norm, typical, uniform
from pair_kinds import APART, CHANNELS, HALVES, KINDS, ROWS, Kind


@dataclass(frozen=True)
class Pair:
    name: str
    role: str
    right: bool
    reference: torch.Tensor = field(repr=False)
    device: torch.Tensor = field(repr=False)


def pair(seed: int) -> Pair | None:
    """The pair of a seed; None where what was damaged cannot be told from rounding."""
    dice = torch.Generator().manual_seed(seed)
    name = list(KINDS)[seed % len(KINDS)]
    kind, right = KINDS[name], bool(choice(dice, 2))
    ways = [way for way in ARITHMETICS.values() if way is not EXACT]
    way = ways[choice(dice, len(ways))]
    scale = 10 ** uniform(dice, -12, 12) if kind.scalable else 1.0
    reference, device, usual = (
        scaled(made(kind, seed, each), scale) for each in (EXACT, way, ARITHMETICS["TF32"])
    )
    text = f"{seed} {name}, {way.name}"
    if right:
        if choice(dice, 3) == 0 and not kind.scalable and device.is_floating_point():
            device = device.half().float()
            text += ", then fp16"
        return Pair(text, kind.role, True, reference, device) if within(reference, device) else None
    if kind.harm is not None:
        damaged, how = kind.harm(dice, reference, device), kind.harm.__name__
    else:
        damaged, how = damage(dice, kind, reference, device, usual)
    if damaged is None:
        return None
    return Pair(f"{text}: {how}", kind.role, False, reference, damaged)


def scaled(values: torch.Tensor, scale: float) -> torch.Tensor:
    return values * scale if scale != 1 else values


def made(kind: Kind, seed: int, way: Arithmetic) -> torch.Tensor:
    """Of a seed always the same network, whatever computes it."""
    return kind.make(torch.Generator().manual_seed(seed + 1), way)


def damage(
    dice: Dice, kind: Kind, reference: torch.Tensor, device: torch.Tensor, usual: torch.Tensor
) -> tuple[torch.Tensor | None, str]:
    """The device's output with one part of it damaged, and how; None where rounding hides that."""
    if not kind.parts:
        return None, ""
    part = kind.parts[choice(dice, len(kind.parts))]
    damaged = device.clone()
    place = selected(dice, kind, part, reference)
    ours, theirs = reference[place], device[place]
    there = finite(ours)
    if kind.extremes:
        there &= ours.abs() < 30 * typical(ours)
    if part == APART:
        shared = ours.mean(0, keepdim=True)
    elif ours.dim() == 1:
        shared = torch.zeros_like(ours[:1])
    else:
        shared = torch.zeros_like(ours)
    own, signal = theirs - shared, ours - shared
    act = ("scaled", "noised", "permuted", "zeroed", "other noise")[choice(dice, 5)]
    how = f"{part} {place} {act}"
    if act == "scaled":
        changed = own * uniform(dice, 1.2, 3)
    elif act == "noised":
        noise = uniform(dice, 0.2, 1) * typical(signal[there]) * noise_like(dice, ours)
        changed = own + noise
    elif act == "permuted" and part == APART:
        changed = own.roll(1, 0)
    elif act == "permuted":
        flat = own[there]
        changed = own.clone()
        changed[there] = flat[torch.randperm(len(flat), generator=dice)]
    elif act == "zeroed":
        changed = own * 0
    else:
        changed = typical(signal[there]) * noise_like(dice, ours)
    damaged[place] = torch.where(there, (changed + shared).to(device.dtype), theirs)
    done = norm((damaged[place] - theirs)[there])
    rounding = norm((theirs - ours)[there])
    if act == "noised" and part in (APART, HALVES):
        rounding = max(rounding, norm((usual[place] - ours)[there]))
    enough = done > 10 * rounding and done >= 0.199 * centred(signal[there])
    return (damaged if enough and centred(signal[there]) > 0 else None), how


def selected(dice: Dice, kind: Kind, part: str, reference: torch.Tensor) -> object:
    """The index of a part: one row, one channel, half of the batch or of its kinds, everything."""
    shape = reference.shape
    if part == ROWS:
        return tuple(choice(dice, size) for size in shape[:-1])
    if part == CHANNELS and kind.channels == -1:
        return (..., choice(dice, shape[-1] - (shape[-1] == 6)))
    if part == CHANNELS:
        return (slice(None), choice(dice, shape[1]))
    if part == HALVES and len(shape) == 3 and shape[1] == 84:
        return (slice(None), slice(4, None))
    if part == HALVES:
        return (slice(shape[0] // 2, None),)
    return (...,)


def within(reference: torch.Tensor, device: torch.Tensor) -> bool:
    """Whether rounding alone stays within the limits of 1% that the kit states, of the whole output."""
    if not (reference.is_floating_point() or reference.is_complex()):
        moved = (reference.long() - device.long()).abs()
        return (
            float((moved > 0).double().mean()) < 1e-3 if reference.dim() == 3 else moved.max() <= 1
        )
    there = finite(reference) & (reference.abs() < 30 * typical(reference)).logical_or(
        reference.abs() < 1e3
    )
    ours, theirs = reference[there], device[there]
    apart = (theirs - ours).abs()
    return norm(apart) <= 0.01 * norm(ours) and float(apart.max()) <= 0.01 * float(ours.abs().max())
