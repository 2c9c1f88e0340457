"""Rounding to HF32, TF32, bf16 and fp16, bit by bit against exact arithmetic and another library."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch

from kit.arithmetic.rounding import BF16, FP16, HF32, HF32_TRUNCATED, TF32, Rounding, round_mantissa

FORMATS = {
    "hf32": HF32,
    "hf32_truncated": HF32_TRUNCATED,
    "tf32": TF32,
    "bf16": BF16,
    "fp16": FP16,
}
EXPONENTS = [0, 1, 2, 90, 102, 103, 111, 112, 113, 126, 127, 128, 141, 142, 143, 200, 253, 254]


def float_of(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def exactly_rounded(value: float, rounding: Rounding) -> float:
    """Of a finite value, in rational arithmetic: the multiple of the format's spacing around it."""
    if value == 0 or math.isnan(value) or math.isinf(value):
        return value
    smallest, largest = (-14, 15) if rounding.fp16_range else (-126, 127)
    exponent = max(math.frexp(value)[1] - 1, smallest)
    steps = abs(Fraction(value)) / Fraction(2) ** (exponent - rounding.mantissa_bits)
    whole = math.floor(steps) if rounding.toward_zero else round(steps)  # round(): ties to even
    magnitude = whole * Fraction(2) ** (exponent - rounding.mantissa_bits)
    return math.copysign(
        math.inf if magnitude >= Fraction(2) ** (largest + 1) else float(magnitude), value
    )


def tensor_of(patterns: list[int]) -> torch.Tensor:
    return torch.from_numpy(np.array(patterns, dtype=np.uint32).view(np.float32))


def same(ours: float, theirs: float) -> bool:
    if math.isnan(theirs):
        return math.isnan(ours)
    return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)


def check(patterns: list[int], rounding: Rounding) -> None:
    for bits, ours in zip(patterns, rounding(tensor_of(patterns)).tolist(), strict=True):
        assert same(ours, exactly_rounded(float_of(bits), rounding)), hex(bits)


@pytest.mark.parametrize("name", FORMATS)
def test_ties_their_neighbours_and_every_kind_of_exponent(name: str) -> None:
    rounding = FORMATS[name]
    dropped = 23 - rounding.mantissa_bits
    half = 1 << (dropped - 1)
    ends = [0, 1, half - 1, half, half + 1, 2 * half - 1]
    kept = [0, 1, 2, (1 << rounding.mantissa_bits) - 2, (1 << rounding.mantissa_bits) - 1]
    patterns = [
        sign << 31 | exponent << 23 | upper << dropped | lower
        for sign in (0, 1)
        for exponent in EXPONENTS
        for upper in kept
        for lower in ends
    ]
    check(patterns, rounding)


def test_every_number_of_bits_and_both_ways() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 0xFF << 23, (40,), generator=generator).tolist()
    for bits in range(24):
        for toward_zero in (False, True):
            check(patterns, Rounding(mantissa_bits=bits, toward_zero=toward_zero))


@pytest.mark.parametrize("name", FORMATS)
def test_nan_and_infinity_stay(name: str) -> None:
    # The payload may fill the mantissa or stand in its last bit, where rounding would lose it.
    patterns = [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, 0xFF800000]
    check(patterns, FORMATS[name])


def test_the_input_stays_as_it_is_and_strides_do_not_matter() -> None:
    x = torch.randn(6, 5)
    before = x.clone()
    assert torch.equal(HF32(x.t()), HF32(x).t())
    assert torch.equal(HF32(x[:, ::2]), HF32(x)[:, ::2])
    assert torch.equal(HF32(x[:1].expand(6, 5)), HF32(x)[:1].expand(6, 5))
    full = round_mantissa(x, 23)
    full.zero_()
    assert torch.equal(x, before)
    with pytest.raises(ValueError, match="float64"):
        HF32(x.double())


def test_bf16_and_fp16_are_pytorchs() -> None:
    x = torch.randn(1000) * 10.0 ** torch.randint(-40, 38, (1000,))
    assert torch.equal(BF16(x), x.bfloat16().float())
    assert torch.equal(FP16(x), x.half().float())


@pytest.mark.parametrize("name", FORMATS)
def test_any_value(name: str) -> None:
    hypothesis = pytest.importorskip("hypothesis", reason="pip install -r requirements-dev.txt")
    integers = hypothesis.strategies.integers(0, 0xFFFFFFFF)

    def holds(patterns: list[int]) -> None:
        check(patterns, FORMATS[name])

    lists = hypothesis.strategies.lists(integers, min_size=1, max_size=50)
    settings = hypothesis.settings(database=None, deadline=None, derandomize=True)
    settings(hypothesis.given(lists)(holds))()


@pytest.mark.parametrize("name", FORMATS)
def test_an_independent_library_agrees(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="pip install -r requirements-dev.txt")
    rounding = FORMATS[name]
    exponent_bits = 5 if rounding.fp16_range else 8
    info = gfloat.FormatInfo(
        name=name,
        k=1 + exponent_bits + rounding.mantissa_bits,
        precision=rounding.mantissa_bits + 1,
        bias=(1 << (exponent_bits - 1)) - 1,
        is_signed=True,
        domain=gfloat.Domain.Extended,
        has_nz=True,
        num_high_nans=(1 << rounding.mantissa_bits) - 1,
        has_subnormals=True,
        is_twos_complement=False,
    )
    mode = gfloat.RoundMode.TowardZero if rounding.toward_zero else gfloat.RoundMode.TiesToEven
    generator = torch.Generator().manual_seed(1)
    patterns = torch.randint(0, 1 << 32, (20_000,), generator=generator).tolist()
    x = tensor_of(patterns)
    x = x[x.isfinite()]
    theirs = gfloat.round_ndarray(info, x.double().numpy(), rnd=mode)
    assert np.array_equal(rounding(x).double().numpy(), theirs)
