"""Readings that only some outputs have: the chip maker's rule, divergence of logits, overlap of maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kit.accuracy.comparison import Comparison, Reference, compare
from kit.accuracy.further import Further, measure_further
from kit.accuracy.readings import OutputReading, read
from kit.accuracy.repeats import ASSUMED_REPEATABLE
from kit.accuracy.spec import OutputSpec, Role

Tensor = torch.Tensor


def further(reference: Tensor, device: Tensor, golden: Tensor | None = None, **of: bool) -> Further:
    return measure_further(reference, device, golden, **({"ranked": False, "ids": False} | of))


def judged(
    role: Role,
    reference: Tensor,
    device: Tensor,
    golden: Tensor | None = None,
    *,
    hf32: bool = False,
) -> Comparison:
    sides = Reference(
        outputs={"x": reference},
        repeats={},
        golden={} if golden is None else {"x": golden},
        golden_reason=None if golden is not None else "left out",
    )
    repeats = {"x": ASSUMED_REPEATABLE}
    return compare({"x": OutputSpec(role=role)}, sides, {"x": device}, repeats, hf32=hf32)


def reading(found: Comparison, name: str) -> OutputReading:
    readings = found.outputs["x"].readings
    assert readings is not None
    return readings[name]


@pytest.mark.parametrize(
    ("dtype", "hf32", "threshold"),
    [
        (torch.float32, False, 2**-13),
        (torch.float32, True, 2**-11),
        (torch.float16, True, 2**-10),
        (torch.bfloat16, False, 2**-7),
    ],
)
def test_the_chip_makers_rule_has_a_row_for_each_dtype(
    dtype: torch.dtype, hf32: bool, threshold: float
) -> None:
    golden = torch.linspace(1, 2, 4096, dtype=torch.float64)
    for factor, within in ((0.5, True), (2.0, False)):
        shift = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(2048) * factor * threshold
        device = golden * (1 + shift)
        found = judged("features", golden.float(), device.to(dtype), golden, hf32=hf32)
        rule = reading(found, "operator_rule")
        assert rule.figures["threshold"] == threshold
        # Half of T beside the dtype's own rounding, which is at most half of T.
        assert rule.within is within


def test_relative_errors_by_an_independent_reading() -> None:
    torch.manual_seed(0)
    golden = torch.randn(70, 5000, dtype=torch.float64)
    device = (golden + 1e-4 * torch.randn(70, 5000)).float()
    device[3, 4], golden[3, 4] = torch.inf, torch.inf
    found = further(golden.float(), device, golden)
    g, d = golden.numpy(), device.double().numpy()
    with np.errstate(invalid="ignore"):
        error = np.abs(d - g) / (np.abs(g) + 1e-7)
    error = error[np.isfinite(error)]
    assert (found.dtype, found.against) == ("float32", "golden")
    assert found.mere == pytest.approx(error.mean(), rel=1e-12)
    assert found.mare == pytest.approx(error.max(), rel=1e-12)
    assert further(golden.float(), device).against == "reference"


def test_divergence_is_of_the_worst_row_and_ignores_what_both_mask() -> None:
    torch.manual_seed(1)
    reference = torch.randn(6, 1000)
    device = reference + 7.0  # the same probabilities
    device[4] += 0.1 * torch.randn(1000)
    reference[:, :10] = device[:, :10] = -torch.inf
    found = further(reference, device, ranked=True).divergence
    p, q = (side[4].double().softmax(0)[10:].numpy() for side in (reference, device))
    assert found == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-9)
    result = reading(judged("logits", reference, device), "divergence")
    assert result.figures == {"divergence": found} and result.within is False
    close = reference + 1e-3 * torch.randn(6, 1000)
    assert reading(judged("logits", reference, close), "divergence").within is True


def test_a_class_that_the_device_alone_masks_has_no_divergence() -> None:
    reference = torch.zeros(2, 8)
    device = reference.clone()
    device[0, 3] = -torch.inf
    assert further(reference, device, ranked=True).divergence is None
    reading = read(None, further(reference, device, ranked=True))["divergence"]
    assert (reading.within, reading.figures) == (None, {"divergence": None})


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_overlap_of_a_mask(dtype: torch.dtype) -> None:
    reference = torch.zeros(1, 64, 64, dtype=dtype)
    reference[:, 10:30, 10:30] = 1
    device = reference.clone()
    device[:, 10, 10:30] = 0  # one of twenty lines of the square
    found = judged("features", reference, device)
    assert found.outputs["x"].metrics is None
    overlap = reading(found, "overlap")
    assert overlap.figures["one_minus_least_iou"] == pytest.approx(1 / 20)
    assert overlap.within is False and reading(found, "relative_l2").within is None
    assert found.readings.overlap.output == "x" and found.readings.relative_l2.output is None
    assert reading(judged("features", reference, reference), "overlap").within is True


def test_what_has_no_overlap() -> None:
    ids = torch.arange(12).reshape(1, 12)
    assert further(ids, ids, ids=True).least_iou is None
    assert further(ids[0], ids[0]).least_iou is None
    many = torch.arange(100 * 100).reshape(100, 100)
    assert further(many, many).least_iou is None
    assert (
        further(
            torch.zeros(4, 4, dtype=torch.int64), torch.zeros(4, 4, dtype=torch.int64)
        ).least_iou
        is None
    )
    assert further(torch.rand(4, 4), torch.rand(4, 4)).least_iou is None


def test_a_class_that_only_the_device_has_overlaps_nothing() -> None:
    reference = torch.zeros(2, 50, dtype=torch.int32)
    reference[:, 25:] = 4
    device = reference.clone()
    device[0, 0] = -7
    assert further(reference, device).least_iou == 0.0
