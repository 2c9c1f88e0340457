"""Pairs of outputs by seed, of which each is known to be right or wrong.

A right pair is one small network computed twice, in fp32 and in another arithmetic that stays within 1%
of the whole output. A wrong one is a
right one of which a part was then damaged: replaced, permuted, scaled by 1.2 or more, or noised by 20%
or more. What was done must exceed what rounding did there ten times: else nobody could tell it apart,
and the pair counts for neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from arithmetic import ARITHMETICS, EXACT, Arithmetic

Dice = torch.Generator


@dataclass
class Kind:
    """A kind of model output: what a seed and an arithmetic give, and of which parts it consists.

    `parts` are "rows", "channels" (of a dimension, with `channels`), "halves" (of the batch), "apart"
    (all that tells rows apart)."""

    make: Callable[[Dice, Arithmetic], torch.Tensor]
    parts: tuple[str, ...]
    channels: int = 1
    role: str = "features"
    scalable: bool = True
    extremes: bool = False  # fills or massive activations, which a damage leaves alone


@dataclass(frozen=True)
class Pair:
    name: str
    role: str
    right: bool
    reference: torch.Tensor = field(repr=False)
    device: torch.Tensor = field(repr=False)


def normal(dice: Dice, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=dice)


def uniform(dice: Dice, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=dice))


def choice(dice: Dice, count: int) -> int:
    return int(torch.randint(count, (), generator=dice))


def network(dice: Dice, way: Arithmetic, rows: tuple[int, ...], width: int) -> torch.Tensor:
    """[*rows, width]: two or three layers with GELU or ReLU, and residuals, on random inputs."""
    hidden = 64
    state = normal(dice, *rows, hidden)
    gelu = choice(dice, 2)
    for _ in range(choice(dice, 2) + 1):
        inner = way.product(state, normal(dice, hidden, 2 * hidden) / 8)
        inner = torch.nn.functional.gelu(inner) if gelu else inner.relu()
        state = state + way.product(inner, normal(dice, 2 * hidden, hidden) / 8)
        state = torch.nn.functional.layer_norm(state, (hidden,))
    return way.product(state, normal(dice, hidden, width) / 8)


def logits(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = network(dice, way, (40,), 200) * uniform(dice, 1, 5)
    return found + uniform(dice, -60, 20) * choice(dice, 2)


def token_logits(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """With classes that a mask forbids, by any of the usual fills."""
    found = network(dice, way, (2, 12), 300) * 3
    fill = (-math.inf, -1e9, -1e4, torch.finfo(torch.float32).min)[choice(dice, 4)]
    return found.masked_fill(torch.rand(300, generator=dice) < uniform(dice, 0.1, 0.7), fill)


def embeddings(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """A vector that all share, and what tells them apart."""
    common = normal(dice, 96) * 10 ** uniform(dice, -0.5, 1.2)
    return network(dice, way, (64,), 96) + common


def hidden_states(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = network(dice, way, (2, 40), 96)
    if choice(dice, 2):  # massive activations: one token, or one feature of all of them
        at = (slice(None), 0, 7) if choice(dice, 2) else (slice(None), slice(None), 7)
        found[at] = found[at].abs() + 10 ** uniform(dice, 2, 5)
    return found


def detector(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 84, anchors]: four of pixels, eighty of scores."""
    heads = network(dice, way, (400,), 84)
    boxes = heads[:, :4].sigmoid() * 640
    scores = (heads[:, 4:] * 2 - uniform(dice, 2, 6)).sigmoid()
    return torch.cat([boxes, scores], 1).T[None].contiguous()


def boxes(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[150, 6]: a table of corners, score, class."""
    heads = network(dice, way, (150,), 6)
    ids = torch.randint(0, 80, (150, 1), generator=dice).float()
    return torch.cat([heads[:, :4].sigmoid() * 640, heads[:, 4:5].sigmoid(), ids], 1)


def probabilities(dice: Dice, way: Arithmetic) -> torch.Tensor:
    return (network(dice, way, (64,), 100) * uniform(dice, 0.5, 12)).softmax(-1)


def attention(dice: Dice, way: Arithmetic) -> torch.Tensor:
    query = network(dice, way, (1, 4, 32), 16)
    scores = way.product(query, network(dice, way, (1, 4, 32), 16).mT) * uniform(dice, 0.1, 1)
    if choice(dice, 2):
        scores = scores.masked_fill(torch.ones(32, 32).triu(1).bool(), -math.inf)
    return scores.softmax(-1)


def feature_map(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = network(dice, way, (2, 14, 14), 64) * torch.exp(normal(dice, 64))
    return (found - uniform(dice, -0.5, 1)).relu().permute(0, 3, 1, 2).contiguous()


def spectrogram(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 80, time]: logarithms of energies with a floor."""
    found = network(dice, way, (1, 150), 80).mT - torch.linspace(0, 3, 80)[:, None]
    return found.clamp(min=-4) * 2 - uniform(dice, 0, 10)


def waveform(dice: Dice, way: Arithmetic) -> torch.Tensor:
    envelope = 10 ** (normal(dice, 40, 1) * 0.3)
    return (network(dice, way, (1, 40), 100) * envelope).tanh().reshape(1, 4000)


def segmentation(dice: Dice, way: Arithmetic) -> torch.Tensor:
    return network(dice, way, (1, 24, 24), 21).permute(0, 3, 1, 2).contiguous() * 4


def depth(dice: Dice, way: Arithmetic) -> torch.Tensor:
    return network(dice, way, (1, 48), 64).exp() * uniform(dice, 1, 10)


def keypoints(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = network(dice, way, (30, 17), 3)
    return torch.cat([found[..., :2].sigmoid() * 256, found[..., 2:].sigmoid()], -1)


def cache(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = network(dice, way, (1, 8, 40), 32)
    found[..., 5] = found[..., 5] + 10 ** uniform(dice, 0, 1.5) * choice(dice, 2)
    return found


def recurrent(dice: Dice, way: Arithmetic) -> torch.Tensor:
    state, weight = torch.zeros(16, 64), normal(dice, 64, 64) / 10
    for step in normal(dice, 6, 16, 64):
        state = (way.product(state, weight) + step).tanh()
    return state[None]


def ragged(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[4, 20, 64]: texts of several lengths, zeros behind their ends."""
    found = network(dice, way, (4, 20), 64)
    lengths = torch.randint(6, 21, (4, 1, 1), generator=dice)
    return found * (torch.arange(20)[None, :, None] < lengths)


def batch(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[32, 96]: half of it thousands of times smaller."""
    found = network(dice, way, (32,), 96)
    found[16:] *= 10 ** -uniform(dice, 2, 5)
    return found


def spectrum(dice: Dice, way: Arithmetic) -> torch.Tensor:
    return torch.fft.rfft(network(dice, way, (1, 30), 126))


def similarity(dice: Dice, way: Arithmetic) -> torch.Tensor:
    found = torch.nn.functional.normalize(network(dice, way, (48,), 64), dim=-1)
    return way.product(found, found.T)


ROWS, CHANNELS, HALVES, APART = "rows", "channels", "halves", "apart"
KINDS = {
    "logits": Kind(logits, (ROWS, APART), role="logits", scalable=False),
    "token logits": Kind(
        token_logits, (ROWS, HALVES), role="logits", scalable=False, extremes=True
    ),
    "embeddings": Kind(embeddings, (ROWS, APART)),
    "hidden states": Kind(hidden_states, (ROWS, HALVES), extremes=True),
    "detector": Kind(detector, (CHANNELS, HALVES)),
    "boxes": Kind(boxes, (CHANNELS,), channels=-1),
    "probabilities": Kind(probabilities, (ROWS, APART), scalable=False),
    "attention": Kind(attention, (CHANNELS,), scalable=False),
    "feature map": Kind(feature_map, (CHANNELS,)),
    "spectrogram": Kind(spectrogram, (CHANNELS,)),
    "waveform": Kind(waveform, ()),
    "segmentation": Kind(segmentation, (CHANNELS,)),
    "depth": Kind(depth, (ROWS,)),
    "keypoints": Kind(keypoints, (CHANNELS,), channels=-1),
    "cache": Kind(cache, (CHANNELS, ROWS)),
    "recurrent": Kind(recurrent, (ROWS,)),
    "ragged": Kind(ragged, (ROWS,)),
    "batch": Kind(batch, (ROWS, HALVES, APART)),
    "spectrum": Kind(spectrum, (ROWS,)),
    "similarity": Kind(similarity, (ROWS,)),
}


def pair(seed: int) -> Pair | None:
    """The pair of a seed; None where what was damaged cannot be told from rounding."""
    dice = torch.Generator().manual_seed(seed)
    name = list(KINDS)[seed % len(KINDS)]
    kind, right = KINDS[name], bool(choice(dice, 2))
    ways = [way for way in ARITHMETICS.values() if way is not EXACT]
    way = ways[choice(dice, len(ways))]
    scale = 10 ** uniform(dice, -12, 12) if kind.scalable else 1.0
    reference, device, usual = (
        made(kind, seed, each) * scale for each in (EXACT, way, ARITHMETICS["TF32"])
    )
    text = f"{seed} {name}, {way.name}"
    if right:
        if choice(dice, 3) == 0 and not kind.scalable:
            device = device.half().float()
            text += ", then fp16"
        return Pair(text, kind.role, True, reference, device) if within(reference, device) else None
    damaged, how = damage(dice, kind, reference, device, usual)
    if damaged is None:
        return None
    return Pair(f"{text}: {how}", kind.role, False, reference, damaged)


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
    there = finite(reference) & (reference.abs() < 30 * typical(reference)).logical_or(
        reference.abs() < 1e3
    )
    ours, theirs = reference[there], device[there]
    apart = (theirs - ours).abs()
    return norm(apart) <= 0.01 * norm(ours) and float(apart.max()) <= 0.01 * float(ours.abs().max())


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
