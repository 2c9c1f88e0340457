"""Rounding float32 values to a narrower format, bit by bit.

A format with fp32's range and fewer mantissa bits (HF32 11, TF32 10, bf16 7) needs no decoding: its
values are the float32 values whose last bits are 0, denormals included, so that rounding is an addition
to the bit pattern and a mask. A carry out of the mantissa moves on into the exponent, where it belongs;
the value after the largest finite one is infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_FP32_MANTISSA_BITS = 23


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """A format for the operands of a product, and how values get into it.

    `mantissa_bits` are the explicit ones, 0 to 23. To nearest, ties to even, or `toward_zero`, where the
    last bits are dropped. `fp16_range`: values below fp16's smallest normal have fewer bits, those past
    its largest become infinite; otherwise the range is fp32's.
    """

    mantissa_bits: int
    toward_zero: bool = False
    fp16_range: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """A new float32 tensor of x's shape. Raises ValueError for x that is not float32."""
        if x.dtype != torch.float32:
            raise ValueError(f"float32 is rounded, not {x.dtype}")
        if self.fp16_range:
            return x.to(torch.float16).to(torch.float32)
        return round_mantissa(x, self.mantissa_bits, toward_zero=self.toward_zero)


HF32 = Rounding(mantissa_bits=11)
HF32_TRUNCATED = Rounding(mantissa_bits=11, toward_zero=True)
TF32 = Rounding(mantissa_bits=10)
BF16 = Rounding(mantissa_bits=7)
FP16 = Rounding(mantissa_bits=10, fp16_range=True)


def round_mantissa(x: Tensor, mantissa_bits: int, *, toward_zero: bool = False) -> Tensor:
    """float32 `x` with that many explicit mantissa bits (0 to 23), in fp32's range, as a new tensor.

    To nearest, ties to even, or towards zero. NaNs and infinities stay as they are, denormals are rounded
    to the spacing that the narrower format has there.
    """
    dropped = _FP32_MANTISSA_BITS - mantissa_bits
    if dropped == 0:
        return x.clone()
    bits = x.view(torch.int32)
    kept = -(1 << dropped)
    if toward_zero:
        rounded = bits & kept
    else:
        # Half of the last kept bit, less one where that bit is 0: a tie then goes to the even side.
        rounded = bits >> dropped
        rounded &= 1
        rounded += (1 << (dropped - 1)) - 1
        rounded += bits
        rounded &= kept
    result = rounded.view(torch.float32)
    # A carry may move a NaN's payload into its sign, and a mask may leave none of it: an infinity.
    missing = x.isnan()
    return torch.where(missing, x, result) if missing.any() else result
