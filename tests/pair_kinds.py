"""Kinds of model output: small networks that give one, computed in any arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from arithmetic import Arithmetic
from pair_damage import (
    Dice,
    Harm,
    choice,
    normal,
    one_block,
    one_stretch,
    one_value,
    two_classes,
    uniform,
)


@dataclass
class Kind:
    """A kind of model output: what a seed and an arithmetic give, and of which parts it consists.

    `parts` are "rows", "channels" (of a dimension, with `channels`), "halves" (of the batch), "apart"
    (all that tells rows apart), or `harm` damages it in a way of its own: that gives None where rounding
    would hide what it does."""

    make: Callable[[Dice, Arithmetic], torch.Tensor]
    parts: tuple[str, ...]
    channels: int = 1
    role: str = "features"
    scalable: bool = True
    extremes: bool = False  # fills or massive activations, which a damage leaves alone
    harm: Harm | None = None


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


def few_found(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[2 to 9, 6]: what a detector found."""
    return boxes(dice, way)[: 2 + choice(dice, 8)].contiguous()


def head(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 2 to 10]: a regression, a pose, a few rewards."""
    return network(dice, way, (1,), 2 + choice(dice, 9)) * uniform(dice, 0.1, 10)


def few_tokens(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """Fewer tokens than features, one of which is massive in all."""
    found = network(dice, way, (1, 8 + choice(dice, 24)), 96)
    found[..., 5] = found[..., 5].abs() + 10 ** uniform(dice, 1.5, 3)
    return found


def speech(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 16384]: louder and quieter, with a pause."""
    loud = 10 ** (normal(dice, 64) * 0.4)
    loud[20:30] *= 10 ** -uniform(dice, 0.5, 2)
    found = network(dice, way, (1, 64), 256) * loud[:, None]
    return (found / 20).tanh().reshape(1, -1)


def few_classes(dice: Dice, way: Arithmetic) -> torch.Tensor:
    return (network(dice, way, (100,), 6) * uniform(dice, 0.5, 4)).softmax(-1)


def class_map(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 128, 128]: the largest of interpolated classes."""
    scores = network(dice, way, (1, 8, 8), 40).movedim(-1, 1)
    size = torch.Size((128, 128))
    return torch.nn.functional.interpolate(scores, size, mode="bilinear").argmax(1)


def picture(dice: Dice, way: Arithmetic) -> torch.Tensor:
    """[1, 96, 96, 3] of 8 bits."""
    colours = network(dice, way, (1, 12, 12), 3).movedim(-1, 1)
    colours = torch.nn.functional.interpolate(colours, (96, 96), mode="bicubic")
    return (colours * 60 + 128).round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous()


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
    "few found": Kind(few_found, (), harm=one_value, scalable=False),
    "head": Kind(head, (), harm=one_value),
    "few tokens": Kind(few_tokens, (CHANNELS,), channels=-1, extremes=True),
    "speech": Kind(speech, (), harm=one_stretch),
    "few classes": Kind(few_classes, (), harm=two_classes, scalable=False),
    "class map": Kind(class_map, (), harm=one_block, scalable=False),
    "picture": Kind(picture, (), harm=one_block, scalable=False),
}
