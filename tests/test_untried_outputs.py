"""Outputs of many kinds that fooled the rule, or might: each right and wrong in a way of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_parts import Sides, changed, judged, noised, normal

from kit.accuracy.spec import Role

Wrong = Callable[[], tuple[torch.Tensor, torch.Tensor, Role]]
MASK = torch.where(torch.arange(384) < 120, 0.0, -1e4)


def cache() -> torch.Tensor:
    """Keys with a large constant feature."""
    return changed(normal(1, 8, 128, 64), (..., 10), 30 + normal(1, 8, 128, seed=1))


def spectrum() -> torch.Tensor:
    return torch.fft.rfft(normal(1, 50, 512)) * 10 ** (-torch.linspace(0, 5, 257))


def heatmaps() -> torch.Tensor:
    """Seventeen joints, of which some are hardly seen."""
    down, right = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    middle = torch.rand(17, 2, 1, 1, generator=torch.Generator().manual_seed(0)) * 40 + 4
    peaks = torch.exp(-((down - middle[:, 0]) ** 2 + (right - middle[:, 1]) ** 2) / 8)
    return (peaks * 10 ** -torch.linspace(0, 2, 17)[:, None, None])[None]


def states() -> torch.Tensor:
    return torch.stack([normal(3, 16, 128).tanh(), 20 * normal(3, 16, 128, seed=1)])


def flow() -> torch.Tensor:
    return torch.stack([30 * normal(60, 80), 0.05 * normal(60, 80, seed=1)])[None]


def halves() -> torch.Tensor:
    """A waveform, loud and then quiet."""
    return torch.cat([normal(1, 8000), 1e-3 * normal(1, 8000, seed=1)], 1)


def attention() -> torch.Tensor:
    return (normal(1, 12, 64, 64) * 3).softmax(-1)


def offsets() -> torch.Tensor:
    """Channels that differ by their means, with little in each."""
    return normal(1, 64, 28, 28) / 2 + 100 * normal(1, 64, 1, 1, seed=1)


def regions() -> torch.Tensor:
    return ((torch.arange(512)[:, None] + torch.arange(512)[None] // 3) // 100)[None]


def border() -> Sides:
    """Eight pixels take the class of their right neighbour."""
    maps = regions()
    at = (maps[:, :, 1:] != maps[:, :, :-1]).nonzero()[::97][:8]
    return maps, changed(maps, tuple(at.T), maps[at[:, 0], at[:, 1], at[:, 2] + 1])


def probable_classes() -> torch.Tensor:
    """Scores of background, far below what fp16 holds, and a few detections."""
    scores = (normal(1, 80, 2000) * 1.5 - 14).sigmoid()
    scores[0, 3, 50:60] = 0.9
    return scores


def forecast() -> torch.Tensor:
    return (1000 + 3 * torch.sin(torch.arange(96.0) / 8)).reshape(1, 96, 1)


def detections(count: int) -> torch.Tensor:
    """What a detector found: two corners in pixels, a score, a class."""
    torch.manual_seed(count)
    corner = torch.rand(count, 2) * 500
    score, kind = torch.rand(count, 1) * 0.6 + 0.3, torch.randint(0, 80, (count, 1)).float()
    return torch.cat([corner, corner + torch.rand(count, 2) * 100, score, kind], 1)


def pose() -> torch.Tensor:
    """A unit quaternion and a place in millimetres."""
    return torch.tensor([[0.72, 0.10, -0.61, 0.31, 120.0, -40.0, 800.0]])


def transform() -> torch.Tensor:
    """A rotation and a translation in one matrix."""
    rotation = torch.linalg.qr(normal(3, 3)).Q
    place = torch.tensor([[120.0], [300.0], [900.0]])
    return torch.cat([torch.cat([rotation, place], 1), torch.tensor([[0.0, 0.0, 0.0, 1.0]])])[None]


def few_tokens() -> torch.Tensor:
    """Fewer tokens than features, one of which is massive in all of them."""
    return changed(normal(1, 24, 384), (..., 138), 300.0)


def speech(pause: float) -> torch.Tensor:
    """Two seconds at 16 kHz, louder and quieter without a gap, with a pause in them."""
    steps = torch.arange(32_000) / 16_000
    loud = 10 ** torch.linspace(0, -1.2, 32_000)
    loud[16_500:22_000] = pause
    return (loud * (torch.sin(1382 * steps) + 0.5 * torch.sin(5221 * steps)))[None]


def confident() -> torch.Tensor:
    """512 rows of ten probabilities."""
    return (normal(512, 10) * 3).softmax(-1)


def exchanged(rows: torch.Tensor, first: int, second: int, count: int) -> torch.Tensor:
    """With two ranks of `count` sure rows in each other's place, where the two differ most."""
    ranked, order = rows.sort(descending=True)
    apart = (ranked[:, first] - ranked[:, second]) * (ranked[:, 0] > 0.9)
    at = apart.sort(descending=True).indices[:count]
    other, ours, theirs = rows.clone(), order[at, first], order[at, second]
    other[at, ours], other[at, theirs] = rows[at, theirs], rows[at, ours]
    return other


def interpolated(error: float = 0.0) -> torch.Tensor:
    """The largest of 60 interpolated classes: many tie, three of them meet, and some own a pixel."""
    scores = normal(1, 60, 16, 16) + error * normal(1, 60, 16, 16, seed=1)
    return torch.nn.functional.interpolate(scores, scale_factor=16, mode="bilinear").argmax(1)


def picture(error: float = 0.0) -> torch.Tensor:
    """[1, 128, 128, 3] of 8 bits, smooth."""
    values = torch.nn.functional.interpolate(normal(1, 3, 9, 9), (128, 128), mode="bicubic") * 50
    values = values + 128 + error * normal(1, 3, 128, 128, seed=1)
    return values.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous()


def ids(least: int, most: int) -> torch.Tensor:
    torch.manual_seed(most)
    return torch.randint(least, most, (1, 8, 75)).float()


def one_hot() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.eye(40)[torch.randint(0, 40, (64,))]


def edges() -> torch.Tensor:
    """Which of 400 nodes are joined: one pair in 33."""
    return normal(400, 400) > 1.88


def fewer(sparse: torch.Tensor) -> torch.Tensor:
    """One in fifty of what is there is lost."""
    return changed(sparse, tuple(sparse.nonzero()[::50].T), False)


def emerging() -> Sides:
    """A pixel of another class within a region, beside ten at the border."""
    maps = regions()
    at = (maps[:, :, 1:] != maps[:, :, :-1]).nonzero()[::97][:10]
    other = changed(maps, tuple(at.T), maps[at[:, 0], at[:, 1], at[:, 2] + 1])
    return maps, changed(other, (0, 30, 30), 3)


def image() -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.rand(64, 64) * 255).round()


def near_classes(
    first: float, second: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, Role]:
    """Two classes that the format cannot tell apart, far above the rest of the row."""
    scores = changed(changed(normal(1, 1000), (0, 3), first), (0, 9), second)
    return scores, scores.to(dtype).float(), "logits"


def swapped(scores: torch.Tensor) -> torch.Tensor:
    """The two largest of every row in each other's place."""
    first, second = scores.topk(2).indices.T
    rows = torch.arange(len(scores))
    exchanged = changed(scores, (rows, first), scores[rows, second])
    return changed(exchanged, (rows, second), scores[rows, first])


WRONG: dict[str, Wrong] = {
    "a head of the cache zero": lambda: (
        cache(),
        changed(noised(cache(), 3e-4), (0, 3), 0.0),
        "features",
    ),
    "a stale position of the cache": lambda: (
        cache(),
        changed(noised(cache(), 3e-4), (0, slice(None), 77), cache()[0, :, 76]),
        "features",
    ),
    "quiet bins of another phase": lambda: (
        spectrum(),
        torch.where(torch.arange(257) > 100, spectrum().conj(), spectrum()),
        "features",
    ),
    "the faintest joint gone": lambda: (
        heatmaps(),
        changed(noised(heatmaps()), (0, 16), 0.0),
        "features",
    ),
    "a state beside a larger one": lambda: (
        states(),
        changed(noised(states()), 0, normal(3, 16, 128, seed=4).tanh()),
        "features",
    ),
    "the small direction of a flow": lambda: (
        flow(),
        changed(noised(flow(), 1e-3), (0, 1), 0.05 * normal(60, 80, seed=4)),
        "features",
    ),
    "the quiet half of a waveform": lambda: (
        halves(),
        changed(noised(halves()), (0, slice(8000, None)), 0.0),
        "features",
    ),
    "fifty small values beside fifty large ones": lambda: (
        torch.cat([normal(50) * 1000, normal(50, seed=1) / 100]),
        torch.cat([normal(50) * 1000, normal(50, seed=2) / 100]),
        "features",
    ),
    "a uniform head of attention": lambda: (
        attention(),
        changed(noised(attention()), (0, 3), 1 / 64),
        "features",
    ),
    "what channels hold beside their means": lambda: (
        offsets(),
        offsets().mean((2, 3), keepdim=True).expand(1, 64, 28, 28).contiguous(),
        "features",
    ),
    "a mask of -1e4 that was added": lambda: (
        normal(4, 384) + MASK,
        torch.where(MASK < 0, normal(4, 384) + MASK, normal(4, 384, seed=5)),
        "logits",
    ),
    "a quiet row of bf16": lambda: (
        changed(normal(64, 256), 3, normal(256, seed=1) / 100).bfloat16(),
        changed(normal(64, 256), 3, normal(256, seed=2) / 100).bfloat16(),
        "features",
    ),
    "one feature of 512 over all rows": lambda: (
        normal(1000, 512),
        changed(noised(normal(1000, 512)), (..., 3), 1.2 * normal(1000, 512)[:, 3]),
        "features",
    ),
    "a class of a map merged": lambda: (regions(), regions().clamp(max=4), "features"),
    "a class of a map of floats merged": lambda: (
        regions().float(),
        regions().clamp(max=4).float(),
        "features",
    ),
    "a forecast that is its mean": lambda: (
        forecast(),
        forecast().mean().expand(1, 96, 1),
        "features",
    ),
    "a forecast in reverse": lambda: (forecast(), forecast().flip(1), "features"),
    "one value of eight": lambda: (
        290 + 2 * torch.sin(torch.arange(8.0)),
        torch.full((8,), 290.0),
        "features",
    ),
    "one of three classes found": lambda: (
        detections(3),
        changed(detections(3), (0, 5), detections(3)[0, 5] + 3),
        "features",
    ),
    "the class of the only one found": lambda: (
        detections(1),
        changed(noised(detections(1), 1e-5), (0, 5), detections(1)[0, 5] + 1),
        "features",
    ),
    "scores of ten found": lambda: (
        detections(10),
        changed(detections(10), (..., 4), normal(10, seed=7).abs()),
        "features",
    ),
    "one score of five found": lambda: (
        detections(5),
        changed(noised(detections(5), 1e-5), (2, 4), 0.2 * detections(5)[2, 4]),
        "features",
    ),
    "one class of five found": lambda: (
        detections(5),
        changed(noised(detections(5), 1e-5), (3, 5), detections(5)[3, 5] + 3),
        "features",
    ),
    "a quaternion's sign": lambda: (pose(), changed(noised(pose()), (0, 1), -0.1), "features"),
    "a quaternion of zeros": lambda: (
        pose(),
        changed(noised(pose()), (0, slice(4)), 0.0),
        "features",
    ),
    "a rotation transposed": lambda: (
        transform(),
        changed(
            noised(transform()),
            (0, slice(3), slice(3)),
            transform()[0, :3, :3].T,
        ),
        "features",
    ),
    "a feature of a few tokens beside an activation": lambda: (
        few_tokens(),
        changed(noised(few_tokens(), 1e-3), (..., 77), few_tokens()[..., 77].mean()),
        "features",
    ),
    "a quiet pause of a waveform gone": lambda: (
        speech(0.004),
        changed(noised(speech(0.004), 1e-4), (0, slice(16_500, 22_000)), 0.0),
        "features",
    ),
    "a rare class of one row": lambda: (
        confident(),
        exchanged(noised(confident(), 1e-3), 4, 6, 1),
        "features",
    ),
    "two channels of a picture of 8 bits": lambda: (picture(), picture().flip(-1), "features"),
    "a patch of a picture of 8 bits": lambda: (
        picture(),
        changed(picture(), (0, slice(40, 60), slice(40, 60)), 128),
        "features",
    ),
    "an object of a map of ties": lambda: (
        interpolated(),
        changed(interpolated(), (0, slice(96, 108), slice(96, 108)), 59),
        "features",
    ),
    "ids in floats": lambda: (ids(20_000, 50_000), ids(20_000, 50_000) + ids(0, 50), "features"),
    "codec tokens in bf16": lambda: (ids(0, 1024), ids(0, 1024).bfloat16().float(), "features"),
    "the two largest swapped": lambda: (
        normal(64, 1000) * 2,
        swapped(normal(64, 1000) * 2).bfloat16().float(),
        "logits",
    ),
    "a block of a map relabelled": lambda: (
        regions(),
        changed(regions(), (0, slice(100, 110), slice(200, 210)), 0),
        "features",
    ),
    "one id of a grid of tokens": lambda: (
        torch.arange(64).repeat(64, 1),
        changed(torch.arange(64).repeat(64, 1), (3, 5), 6),
        "features",
    ),
    "a one-hot row of 64": lambda: (
        one_hot(),
        changed(one_hot(), 9, one_hot()[9].roll(1)),
        "features",
    ),
    "a one-hot row of truth values": lambda: (
        one_hot().bool(),
        changed(one_hot(), 9, 0.0).bool(),
        "features",
    ),
    "edges of a graph": lambda: (edges(), fewer(edges()), "features"),
    "a pixel within a region": lambda: (regions(), changed(regions(), (0, 30, 30), 3), "features"),
    "the background of a detector gone": lambda: (
        probable_classes() * 1e4,
        torch.where(probable_classes() > 0.5, probable_classes() * 1e4, 0.0),
        "features",
    ),
}


def rounded_mask() -> Sides:
    masked = normal(4, 384) + MASK
    return masked, torch.where(MASK < 0, masked * (1 + 1e-7), noised(masked, 5e-4))


RIGHT: dict[str, Callable[[], Sides | tuple[torch.Tensor, torch.Tensor, Role]]] = {
    "cache": lambda: (cache(), noised(cache(), 1e-3)),
    "spectrum": lambda: (spectrum(), spectrum() * (1 + 1e-3 * normal(1, 50, 257))),
    "heatmaps": lambda: (heatmaps(), heatmaps() + 2e-5 * normal(1, 17, 64, 48)),
    "states": lambda: (states(), noised(states(), 1e-3)),
    "flow": lambda: (flow(), noised(flow(), 1e-3)),
    "halves": lambda: (halves(), noised(halves(), 1e-3)),
    "attention in bf16": lambda: (attention(), attention().bfloat16().float()),
    "offsets": lambda: (offsets(), noised(offsets(), 3e-4)),
    "an added mask": rounded_mask,
    "near classes in bf16": lambda: near_classes(17.95, 18.05, torch.bfloat16),
    "near classes in fp16": lambda: near_classes(17.995, 18.003, torch.float16),
    "an image that rounds to a neighbour": lambda: (
        image(),
        (image() + normal(64, 64) / 4).round(),
    ),
    "large numbers in bf16": lambda: (
        (normal(64, 256) * 1e3).bfloat16().float(),
        noised(normal(64, 256) * 1e3, 1e-3).bfloat16().float(),
    ),
    "two found, in fp16": lambda: (detections(2), detections(2).half().float()),
    "a border of a map": border,
    "a pixel of a map where two classes tie": emerging,
    "a border of a map of floats": lambda: tuple(side.float() for side in border()),
    "five found": lambda: (detections(5), noised(detections(5), 3e-5)),
    "one found, in bf16": lambda: (
        detections(1).bfloat16().float(),
        noised(detections(1), 2e-3).bfloat16().float(),
    ),
    "a pose": lambda: (pose(), noised(pose(), 3e-4)),
    "a transform": lambda: (transform(), noised(transform(), 3e-4)),
    "a few tokens beside an activation": lambda: (few_tokens(), noised(few_tokens(), 2e-3)),
    "a pause as loud as rounding elsewhere": lambda: (
        speech(1e-4),
        speech(1e-4) + 2e-4 * normal(1, 32_000),
    ),
    "probabilities in fp16": lambda: (confident(), confident().log().half().softmax(-1).float()),
    "a map of ties": lambda: (interpolated(), interpolated(1e-3)),
    "a picture of 8 bits": lambda: (picture(), picture(0.05)),
    "quantised to 8 bits": lambda: (
        (normal(4, 500) * 30).round().clamp(-128, 127).to(torch.int8),
        ((normal(4, 500) + 5e-4 * normal(4, 500, seed=1)) * 30)
        .round()
        .clamp(-128, 127)
        .to(torch.int8),
    ),
    "background scores in fp16": lambda: (probable_classes(), probable_classes().half().float()),
    "fp8": lambda: (normal(64, 64).to(torch.float8_e4m3fn),) * 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    found = judged(*WRONG[name]())
    assert found.verdict == "FAIL", found.reasons


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str) -> None:
    found = judged(*RIGHT[name]())
    assert found.verdict == "PASS", found.reasons
