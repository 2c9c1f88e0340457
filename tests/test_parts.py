"""A part of an output that is wrong must not hide behind the rest, and rounding must not be refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from conftest import Kit
from pairs import Pair, pair
from safetensors.torch import save_file

from kit.accuracy.comparison import Comparison, Reference, compare
from kit.accuracy.judged import JudgedOutput
from kit.accuracy.outcome import OutputVerdict
from kit.accuracy.part_sums import layout_of
from kit.accuracy.repeats import ASSUMED_REPEATABLE
from kit.accuracy.spec import OutputSpec, Role
from kit.accuracy.verdict import judge_outputs
from kit.words import Reason

Sides = tuple[torch.Tensor, torch.Tensor]
MIN = torch.finfo(torch.float32).min
# A value that saturated, or was lost: neither number means "nothing here" on both sides.
OTHER_FILLS = (
    *((math.inf, value) for value in (100.0, 1e4, -1e9)),
    *((-math.inf, value) for value in (-60.0, -100.0)),
    *((1e6, 65504.0), (1000.0, 100.0), (100.0, 3e38), (-1e9, -60.0)),
)


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=dice(seed))


def noised(tensor: torch.Tensor, size: float = 1e-4, seed: int = 9) -> torch.Tensor:
    """What rounding makes of a tensor."""
    return tensor * (1 + size * normal(*tensor.shape, seed=seed))


def judged(reference: torch.Tensor, device: torch.Tensor, role: Role = "features") -> JudgedOutput:
    return comparison({"x": (reference, device)}, {"x": role}).outputs["x"]


def comparison(pairs: Mapping[str, Sides], roles: Mapping[str, Role]) -> Comparison:
    specs = {name: OutputSpec(role=roles.get(name, "features")) for name in pairs}
    reference = Reference(
        outputs={name: sides[0] for name, sides in pairs.items()},
        repeats={},
        golden={},
        golden_reason=Reason.said("none"),
    )
    device = {name: sides[1] for name, sides in pairs.items()}
    return compare(specs, reference, device, dict.fromkeys(pairs, ASSUMED_REPEATABLE))


def detector() -> torch.Tensor:
    """[1, 84, 8400]: boxes in pixels, scores of which few are large."""
    boxes = torch.rand(1, 4, 8400, generator=dice()) * 640
    return torch.cat([boxes, (normal(1, 80, 8400, seed=1) * 1.5 - 5).sigmoid()], 1)


def table() -> torch.Tensor:
    """[100, 6]: corners, score, class."""
    boxes = torch.rand(100, 4, generator=dice()) * 640
    scores = torch.rand(100, 1, generator=dice(1))
    classes = torch.randint(0, 80, (100, 1), generator=dice(2)).float()
    return torch.cat([boxes, scores, classes], 1)


def changed(tensor: torch.Tensor, at: Any, value: torch.Tensor | float) -> torch.Tensor:
    other = tensor.clone()
    other[at] = value
    return other


def wrong() -> dict[str, tuple[torch.Tensor, torch.Tensor, Role]]:
    found: dict[str, tuple[torch.Tensor, torch.Tensor, Role]] = {}
    values, half = normal(8, 500), torch.arange(500) % 2 == 0
    for fill in (MIN, -1e9, -1e4):
        masked, noise = (v.masked_fill(half, fill) for v in (values, normal(8, 500, seed=5)))
        found[f"noise beside a fill of {fill:.3g}"] = masked, noise, "features"
        found[f"a mask of {fill:.3g} elsewhere"] = (
            values.masked_fill(half, fill),
            values.masked_fill(~half, fill),
            "features",
        )
    for ours, theirs in OTHER_FILLS:
        found[f"{ours:.3g} that became {theirs:.3g}"] = (
            values.masked_fill(half, ours),
            values.masked_fill(half, theirs),
            "features",
        )
    boxes = detector()
    scores = (slice(None), slice(4, None))
    right = noised(boxes, 1e-3)
    found["every score zero"] = boxes, changed(right, scores, 0.0), "features"
    found["the classes permuted"] = (
        boxes,
        changed(right, scores, right[scores].roll(1, 1)),
        "features",
    )
    found["one channel of scores is another's"] = (
        boxes,
        changed(right, (0, 17), boxes[0, 18]),
        "features",
    )
    rows = table()
    random = torch.rand(100, generator=dice(7))
    found["a score column of noise"] = rows, changed(rows, (..., 4), random), "features"
    found["one class id off by 5"] = rows, changed(rows, (3, 5), rows[3, 5] + 5), "features"
    batch = normal(16, 400)
    batch[8:] /= 1000
    garbage = changed(noised(batch), slice(8, None), normal(8, 400, seed=3) / 1000)
    found["the small half of a batch is garbage"] = batch, garbage, "features"
    tokens = changed(normal(1, 197, 192), (0, 0, 5), 1e5)
    some = changed(tokens, (0, slice(3, 25)), normal(22, 192, seed=4))
    found["11% of the tokens garbage beside an activation"] = tokens, some, "features"
    loud = changed(noised(tokens, 0.45), (0, 0, 5), 1e5)
    found["45% noise beside an activation"] = tokens, loud, "features"
    for times in (30, 300):
        common, apart = normal(1, 384) * times, normal(64, 384, seed=1)
        embeddings = common + apart
        found[f"rows rotated, {times} times"] = embeddings, embeddings.roll(1, 0), "features"
        found[f"the input ignored, {times} times"] = (
            embeddings,
            common.expand(64, 384).contiguous(),
            "features",
        )
    logits = normal(64, 1000) - 100
    found["half of the top-1 changed around -100"] = (
        logits,
        logits + 0.9 * normal(64, 1000, seed=6),
        "logits",
    )
    return found


def right() -> dict[str, tuple[torch.Tensor, torch.Tensor, Role]]:
    confident = normal(64, 1000) * 8
    probabilities = confident.softmax(-1)
    vectors = torch.linalg.qr(normal(256, 64)).Q.T.contiguous()
    zeros = normal(8, 400).relu()
    tiny = zeros + 1e-7 * normal(8, 400, seed=2) * (zeros == 0)
    channels = changed(normal(1, 16, 20, 20), (0, 3), 0.0)
    noise = changed(channels, (0, 3), 1e-7 * normal(20, 20, seed=3))
    plane = torch.arange(1024)[:, None] + torch.arange(768)[None]
    map_ = (plane // 300)[None]
    border = changed(map_, (0, 300, 0), 0)
    assert int((map_ != border).sum()) == 1
    masked = normal(8, 500).masked_fill(torch.arange(500) % 3 == 0, MIN)
    return {
        "a confident softmax in fp16": (probabilities, probabilities.half().float(), "features"),
        "a Gram matrix": (vectors @ vectors.T, vectors.flip(1) @ vectors.flip(1).T, "features"),
        "exact zeros against 1e-7": (zeros, tiny, "features"),
        "a channel of exact zeros": (channels, noise, "features"),
        "one border pixel": (map_, border, "features"),
        "finfo.min against -inf": (
            masked,
            masked.masked_fill(masked == MIN, -math.inf),
            "features",
        ),
        "finfo.min in fp16": (masked, masked.half(), "features"),
        "finfo.max in fp16": (-masked, -masked.half(), "features"),
        "finfo.max against inf": (
            -masked,
            (-masked).masked_fill(masked == MIN, math.inf),
            "features",
        ),
    }


@pytest.mark.parametrize("name", list(wrong()))
def test_what_hides_behind_the_rest_fails(name: str) -> None:
    found = judged(*wrong()[name])
    assert found.verdict == "FAIL", found.reasons
    assert found.within_1_percent is False


@pytest.mark.parametrize("name", list(right()))
def test_rounding_passes(name: str) -> None:
    found = judged(*right()[name])
    assert found.verdict == "PASS", found.reasons


@pytest.mark.parametrize(
    "blank", [torch.zeros(0), torch.zeros(8), torch.ones(4, 4), torch.ones(9, dtype=torch.int64)]
)
def test_equal_outputs_that_hold_nothing_pass_beside_one_that_holds_something(
    blank: torch.Tensor,
) -> None:
    good = normal(8, 100)
    found = comparison({"x": (good, noised(good)), "blank": (blank, blank.clone())}, {})
    assert found.verdict == found.outputs["blank"].verdict == "PASS"
    assert found.readings.relative_l2.within is True
    bad = comparison({"x": (good, -good), "blank": (blank, blank.clone())}, {})
    assert bad.verdict == "FAIL"
    alone = comparison({"blank": (blank, blank.clone())}, {})
    assert alone.verdict == "INVALID"


def test_one_value_everywhere_may_be_rounded() -> None:
    good, alike = normal(8, 100), torch.full((4, 40), 1 / 40)
    for device in (alike * (1 + 1e-7), noised(alike, 1e-3)):
        blank = {"blank": (alike, device)}
        assert comparison({"x": (good, noised(good))} | blank, {}).verdict == "PASS"
        assert comparison(blank, {}).verdict == "INVALID"
    for device in (alike / 2, changed(alike, (2, 3), 0.03), normal(4, 40)):
        assert comparison({"x": (good, good), "blank": (alike, device)}, {}).verdict == "INVALID"


def test_pass_says_what_it_saw() -> None:
    reference = normal(16, 64, 100)
    reference[3, 5] *= 0.2
    found = judged(reference, changed(noised(reference), (3, 5), reference[3, 5] * 1.03))
    assert (found.verdict, found.within_1_percent) == ("PASS", False)
    row = found.metrics.parts.row if found.metrics else None
    assert row is not None and row.index == (3, 5) and row.above_floor
    assert row.relative_l2 == pytest.approx(0.03, rel=0.05)
    assert any("worst row [3, 5]: relative L2 0.03" in reason for reason in found.reasons)


def test_the_golden_says_what_rounding_does_in_a_part() -> None:
    """A row of which little is left after two large numbers cancel."""
    exact = torch.randn(64, 200, dtype=torch.float64, generator=dice())
    large = 1e4 * torch.randn(200, dtype=torch.float64, generator=dice(1))
    exact[7] /= 1000
    sides = [side.float() for side in (exact, exact)]
    for side, other in zip(sides, (large, 3 * large), strict=True):
        side[7] = (exact[7].float() + other.float()) - other.float()
    assert judged(sides[0], sides[1]).verdict == "FAIL"
    specs, reference = {"x": OutputSpec(role="features")}, {"x": sides[0]}
    device, repeats = {"x": sides[1]}, {"x": ASSUMED_REPEATABLE}
    found = judge_outputs(specs, reference, device, repeats, {"x": exact})["x"]
    assert found.verdict == "PASS", found.reasons
    device["x"] = changed(sides[1], 9, sides[1][10])
    assert judge_outputs(specs, reference, device, repeats, {"x": exact})["x"].verdict == "FAIL"


@pytest.mark.parametrize("seed", range(3))
def test_the_golden_hears_what_is_quiet_by_itself(seed: int) -> None:
    """Fields of the weather, each a quarter of the one before: no gap sets a quiet one apart."""
    scale = 4.0 ** -torch.arange(12, dtype=torch.float64)[:, None, None]
    weights = torch.randn(24, 32, dtype=torch.float64, generator=dice(seed))
    inputs = torch.randn(12, 16, 24, dtype=torch.float64, generator=dice(seed + 1))
    exact = (inputs @ weights * scale)[None]
    ours = (inputs.float() @ weights.float() * scale.float())[None]
    right = noised(ours, 3e-4)
    wrong = changed(right, (0, 11), right[0, 11].roll(1, 0))
    specs, repeats = {"x": OutputSpec(role="features")}, {"x": ASSUMED_REPEATABLE}

    def found(device: torch.Tensor, **golden: torch.Tensor) -> OutputVerdict:
        return judge_outputs(specs, {"x": ours}, {"x": device}, repeats, golden)["x"]

    assert found(right, x=exact).verdict == found(right).verdict == "PASS"
    assert found(wrong, x=exact).verdict == "FAIL"
    unheard = found(wrong)
    assert unheard.verdict == "PASS"
    assert any("their loss would not show" in reason for reason in unheard.reasons)


def test_changed_top1_rows_are_no_more_than_their_errors_explain() -> None:
    logits = normal(400, 50) * 4
    first, second = logits.topk(2).indices.T
    row = torch.arange(400)
    logits[row, second] = logits[row, first] - 0.05
    few = logits + 0.02 * normal(400, 50, seed=1)
    assert judged(logits, few, "logits").verdict == "PASS"
    swapped = logits + 0.02 * normal(400, 50, seed=1)
    swapped[row, first], swapped[row, second] = logits[row, second], logits[row, first]
    found = judged(logits, swapped, "logits")
    assert found.verdict == "FAIL"
    assert any("top-1 changes in 400 of 400 rows" in reason for reason in found.reasons)


def judge_pairs(seeds: range) -> tuple[list[str], list[str], int]:
    """The wrong pairs that pass, the right ones that are refused, and how many were judged."""
    passed, refused, count = [], [], 0
    for seed in seeds:
        made = pair(seed)
        if made is None:
            continue
        count += 1
        role: Role = "logits" if made.role == "logits" else "features"
        found = judged(made.reference, made.device, role)
        if (found.verdict == "PASS") is not made.right:
            (refused if made.right else passed).append(f"{made.name}: {found.reasons}")
    return passed, refused, count


def test_300_pairs() -> None:
    passed, refused, count = judge_pairs(range(345))
    assert count >= 300
    assert (passed, refused) == ([], [])


@pytest.mark.full
@pytest.mark.parametrize("part", range(9))
def test_5000_pairs(part: int) -> None:
    passed, refused, count = judge_pairs(range(1000 + part * 650, 1650 + part * 650))
    assert count >= 560
    assert passed == []
    assert len(refused) <= 0.002 * count


def test_the_command_gives_the_same_verdicts(kit: Kit) -> None:
    pairs = [made for seed in range(40) if isinstance(made := pair(seed), Pair)]
    paths = kit.scratch / "reference.safetensors", kit.scratch / "device.safetensors"
    for path, side in zip(paths, ("reference", "device"), strict=True):
        tensors = {str(n): getattr(each, side).contiguous() for n, each in enumerate(pairs)}
        save_file(tensors, path)
    ranked = [
        part
        for number, each in enumerate(pairs)
        if each.role == "logits"
        for part in ("--logits", str(number))
    ]
    result = kit.command("judge", *paths, *ranked, "--json")
    assert result.code == 1
    outputs = json.loads(result.out)["outputs"]
    verdicts = [outputs[str(number)]["verdict"] for number in range(len(pairs))]
    assert verdicts == ["PASS" if each.right else "FAIL" for each in pairs]


@pytest.mark.parametrize(
    ("shape", "columns"),
    [
        ((4, 4096), True),
        ((4, 4097), False),  # few rows, many columns: each would be of a few values
        ((5000, 5000), True),
        ((20_000, 16_384), True),
        ((20_000, 16_385), False),
        ((7,), False),
        ((9, 1), False),
    ],
)
def test_which_columns_are_parts(shape: tuple[int, ...], columns: bool) -> None:
    assert layout_of(shape, paired=False).columns is columns
    assert not layout_of((*shape, 2), paired=True).columns
