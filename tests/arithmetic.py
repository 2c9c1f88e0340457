"""How a device computes: operands or results of a product rounded to another format, or another order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Round = Callable[[torch.Tensor], torch.Tensor]


def same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def to_bits(bits: int) -> Round:
    """Rounding to `bits` explicit mantissa bits, the exponent range kept: HF32 11, TF32 10."""

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        mantissa, exponent = torch.frexp(tensor)
        return torch.ldexp((mantissa * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent)

    return rounded


def through(dtype: torch.dtype) -> Round:
    return lambda tensor: tensor.to(dtype).to(tensor.dtype)


@dataclass(frozen=True)
class Arithmetic:
    """Products of a device: how it rounds their operands, their results, and in which order it sums."""

    name: str
    operands: Round = same
    results: Round = same
    flipped: bool = False

    def product(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """inputs [..., k] @ weight [k, n]."""
        if self.flipped:
            inputs, weight = inputs.flip(-1), weight.flip(-2)
        return self.results(self.operands(inputs) @ self.operands(weight))


EXACT = Arithmetic("fp32")
HALF, BRAIN = through(torch.float16), through(torch.bfloat16)
ARITHMETICS = {
    each.name: each
    for each in (
        EXACT,
        Arithmetic("another order", flipped=True),
        Arithmetic("HF32", operands=to_bits(11)),
        Arithmetic("TF32", operands=to_bits(10)),
        Arithmetic("fp16 operands", operands=HALF),
        Arithmetic("fp16", operands=HALF, results=HALF),
        Arithmetic("bf16 operands", operands=BRAIN),
        Arithmetic("bf16", operands=BRAIN, results=BRAIN),
    )
}
