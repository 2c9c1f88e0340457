"""Metrics against an independent slow formula, and the rules of the verdict one by one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from kit.accuracy.metrics import measure
from kit.accuracy.repeats import Repeat, compare_runs
from kit.accuracy.spec import OutputSpec
from kit.accuracy.verdict import judge_output, overall

SAME = Repeat(bit_identical=True, relative_l2=0.0, nonfinite_agree=True, max_abs_diff=0.0)
LOGITS, FEATURES = OutputSpec(role="logits"), OutputSpec(role="features")


def slow(reference: torch.Tensor, device: torch.Tensor) -> dict[str, float]:
    """Exact rational sums of the same figures."""
    pairs = [
        (Fraction(float(a)), Fraction(float(b)))
        for a, b in zip(reference.flatten(), device.flatten(), strict=True)
    ]
    square = sum((b - a) ** 2 for a, b in pairs)
    reference_square = sum(a * a for a, _ in pairs)
    device_square = sum(b * b for _, b in pairs)
    product = sum(a * b for a, b in pairs)
    return {
        "max_abs_diff": float(max(abs(b - a) for a, b in pairs)),
        "mean_abs_diff": float(sum(abs(b - a) for a, b in pairs) / len(pairs)),
        "rmse": math.sqrt(square / len(pairs)),
        "relative_l2": math.sqrt(square / reference_square),
        "max_over_range": float(max(abs(b - a) for a, b in pairs) / max(abs(a) for a, _ in pairs)),
        "cosine_similarity": float(product) / math.sqrt(reference_square * device_square),
    }


@pytest.mark.parametrize("seed", range(20))
def test_metrics_agree_with_exact_sums(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 7, size=random.integers(1, 4)))
    dtype = [torch.float32, torch.float64, torch.float16, torch.bfloat16][seed % 4]
    scale = 10.0 ** random.integers(-4, 4)
    reference = torch.tensor(random.normal(size=shape) * scale, dtype=dtype)
    device = (reference.double() + torch.tensor(random.normal(size=shape)) * 0.01 * scale).to(dtype)
    found = measure(reference.transpose(0, -1), device.transpose(0, -1))
    for name, value in slow(reference, device).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


def test_blocks_are_summed_as_one() -> None:
    reference = torch.randn(3_000_017, dtype=torch.float32)
    device = reference.clone()
    device[2_500_000] += 1.0
    found = measure(reference, device)
    assert found.max_abs_index == (2_500_000,)
    assert found.elements == found.finite == reference.numel()
    assert found.max_abs_diff == pytest.approx(1.0, abs=1e-6)
    assert found.mean_abs_diff == pytest.approx(found.max_abs_diff / reference.numel(), rel=1e-12)


def verdict_of(
    reference: torch.Tensor,
    device: torch.Tensor,
    spec: OutputSpec = FEATURES,
    repeat: Repeat | None = SAME,
) -> str:
    return judge_output("x", spec, {"x": reference}, {"x": device}, repeat).verdict


BASE = torch.linspace(-3, 5, 64)
SWAPPED = BASE.clone()
SWAPPED[[62, 63]] = SWAPPED[[63, 62]]


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("equal", BASE, "PASS"),
        ("rounding", BASE * (1 + 1e-5), "PASS"),
        ("0.9% of scale", BASE * 1.009, "PASS"),
        ("scaled by two: cosine 1", BASE * 2, "FAIL"),
        ("constant offset", BASE + 0.5, "FAIL"),
        ("1.1% of scale", BASE * 1.011, "FAIL"),
        ("one outlier of 2% of the range", BASE + 0.1 * (torch.arange(64) == 5), "FAIL"),
        ("negated", -BASE, "FAIL"),
        ("all zero", BASE * 0, "FAIL"),
        ("a NaN", torch.where(torch.arange(64) == 5, math.nan, BASE), "FAIL"),
        ("an infinity", torch.where(torch.arange(64) == 5, math.inf, BASE), "FAIL"),
        ("all NaN", BASE * math.nan, "FAIL"),
        ("another shape", BASE.reshape(8, 8), "INVALID"),
        ("empty", BASE[:0], "INVALID"),
    ],
)
def test_rules(name: str, device: torch.Tensor, expected: str) -> None:
    assert verdict_of(BASE, device) == expected, name


@pytest.mark.parametrize(
    "reference", [torch.zeros(8), torch.full((8,), 3.0), torch.full((8,), math.nan)]
)
def test_degenerate_reference_is_invalid(reference: torch.Tensor) -> None:
    assert verdict_of(reference, reference.clone()) == "INVALID"


def test_agreeing_non_finite_positions_are_compared_around() -> None:
    masked = torch.where(torch.arange(64) < 4, -math.inf, BASE)
    assert verdict_of(masked, masked * (1 + 1e-6)) == "PASS"
    flipped = torch.where(torch.arange(64) < 4, math.inf, BASE)
    assert verdict_of(masked, flipped) == "FAIL"
    nan = torch.where(torch.arange(64) < 4, math.nan, BASE)
    assert verdict_of(masked, nan) == "FAIL"


def test_small_outputs_are_judged_by_their_own_size() -> None:
    small = BASE * 1e-4
    assert verdict_of(small, torch.zeros(64)) == "FAIL"
    assert verdict_of(small, small + torch.randn(64) * 3e-5) == "FAIL"


def test_top1_swap_needs_an_excuse() -> None:
    clear = torch.zeros(1, 1000)
    clear[0, 1], clear[0, 2] = 10.0, 9.95
    noisy = clear + torch.randn(1, 1000) * 1e-5
    swapped = noisy.clone()
    swapped[0, 1], swapped[0, 2] = 9.95, 10.0
    assert verdict_of(clear, noisy, LOGITS) == "PASS"
    assert verdict_of(clear, swapped, LOGITS) == "FAIL"
    near = clear.clone()
    near[0, 2] = 10.0 - 1e-5
    swapped = near + torch.randn(1, 1000) * 1e-4
    swapped[0, 1], swapped[0, 2] = 9.9999, 10.0
    result = judge_output("x", LOGITS, {"x": near}, {"x": swapped}, SAME)
    assert result.verdict == "PASS"
    assert any("separates the two" in reason for reason in result.reasons)


def ids(*numbers: int) -> torch.Tensor:
    return torch.tensor([numbers])


def judge_ids(
    reference: torch.Tensor,
    device: torch.Tensor,
    scores: torch.Tensor,
    device_scores: torch.Tensor,
) -> str:
    spec = OutputSpec(role="token_ids", scores="scores")
    sides = (
        {"ids": reference, "scores": scores},
        {"ids": device, "scores": device_scores},
    )
    return judge_output("ids", spec, *sides, SAME).verdict


def test_generated_ids_may_differ_only_where_the_scores_excuse_it() -> None:
    scores = torch.zeros(1, 2, 50)
    scores[0, 0, 7] = 5.0
    scores[0, 1, 8], scores[0, 1, 9] = 5.0, 5.0 - 1e-5
    noise = scores + torch.randn(1, 2, 50) * 1e-4
    assert judge_ids(ids(0, 7, 8), ids(0, 7, 8), scores, noise) == "PASS"
    assert judge_ids(ids(0, 7, 8), ids(0, 7, 9), scores, noise) == "PASS"
    assert judge_ids(ids(0, 7, 8), ids(0, 6, 8), scores, noise) == "FAIL"
    assert judge_ids(ids(0, 7, 8), ids(0, 7, 3), scores, noise) == "FAIL"
    assert judge_ids(ids(0, 7, 8), ids(0, 7), scores, noise) == "FAIL"
    assert judge_ids(ids(0, 7, 8), ids(), scores, noise) == "INVALID"
    assert judge_ids(ids(0, 7, 8), ids(0, 7, 99), scores, noise) == "INVALID"
    assert judge_ids(ids(0, 7, 8), ids(0, 7, 8), scores * 0, noise * 0) == "INVALID"


def test_garbage_scores_excuse_nothing() -> None:
    """The worse a row is, the larger its error: it must not excuse itself by that."""
    torch.manual_seed(0)
    scores, garbage = torch.randn(1, 3, 500), torch.randn(1, 3, 500)
    garbage[:, 0] = scores[:, 0]
    ours = [0, *scores[0].argmax(-1).tolist()]
    theirs = [0, *garbage[0].argmax(-1).tolist()]
    assert ours[1] == theirs[1] and ours[2] != theirs[2]
    assert judge_ids(ids(*ours), ids(*theirs), scores, garbage) == "FAIL"
    assert judge_ids(ids(*ours), ids(*ours), scores, garbage) == "FAIL"
    rows, wrong = torch.randn(8, 1000) * 100, torch.zeros(8, 1000)
    rows[3] /= 1000
    wrong.copy_(rows)
    wrong[3] = torch.randn(1000) / 10
    assert verdict_of(rows, wrong, LOGITS) == "FAIL"


def test_a_nan_in_the_reference_shows_nothing() -> None:
    nan = torch.where(torch.arange(64) == 5, math.nan, BASE)
    assert verdict_of(nan, nan.clone()) == "INVALID"
    assert not measure(nan, nan.clone()).allclose


def test_a_device_that_was_run_once_is_invalid() -> None:
    assert verdict_of(BASE, BASE.clone(), repeat=None) == "INVALID"


def test_missing_output_and_empty_comparison_are_invalid() -> None:
    assert judge_output("x", FEATURES, {"x": BASE}, {}, None).verdict == "INVALID"
    assert judge_output("x", FEATURES, {}, {"x": BASE}, None).verdict == "INVALID"
    assert overall({}) == "INVALID"


def test_unrepeatable_device_is_invalid_even_where_it_is_close() -> None:
    noisy = BASE + torch.randn(64) * 0.01
    repeat = compare_runs({"x": BASE}, {"x": noisy})["x"]
    assert verdict_of(BASE, BASE, repeat=repeat) == "INVALID"
    quiet = compare_runs({"x": BASE}, {"x": BASE * (1 + 1e-6)})["x"]
    assert not quiet.bit_identical
    assert verdict_of(BASE, BASE, repeat=quiet) == "PASS"
    nan = torch.where(torch.arange(64) == 5, math.nan, BASE)
    assert verdict_of(BASE, BASE, repeat=compare_runs({"x": BASE}, {"x": nan})["x"]) == "INVALID"
