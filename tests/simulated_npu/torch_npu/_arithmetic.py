"""How an NPU's arithmetic differs from a CPU's: input rounding and the formula of GELU.

Sources: the torch_npu 2.13.0 wheel (npu/npu_config.py: the flags and their defaults), its control
flow over a do-nothing CANN (a default convolution asks for cubeMathType 3 = HF32, a default matrix
product for 0 = keep the dtype, and both follow the flags), Ascend's description of HF32 (the range
of fp32 with 11 explicit mantissa bits; 910B and later) and of aclnnGelu (the tanh formula). A 910A
has no fp32 matrix unit: there both kinds of operator work on fp16. Nothing here was measured on
hardware, and an NPU's order of accumulation is not imitated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from . import _errors, _options
from ._switches import SWITCHES

_FP32_MANTISSA_BITS = 23
_HF32_MANTISSA_BITS = 11
_DROPPED_BITS = _FP32_MANTISSA_BITS - _HF32_MANTISSA_BITS

# Where the two factors of a product stand among an operator's arguments.
_MATMULS: Mapping[str, tuple[int, int]] = {
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::mv": (0, 1),
    "aten::dot": (0, 1),
    "aten::vdot": (0, 1),
    "aten::addmm": (1, 2),
    "aten::addmm_": (1, 2),
    "aten::_addmm_activation": (1, 2),
    "aten::addmv": (1, 2),
    "aten::addmv_": (1, 2),
    "aten::addbmm": (1, 2),
    "aten::addbmm_": (1, 2),
    "aten::baddbmm": (1, 2),
    "aten::baddbmm_": (1, 2),
}
_CONVOLUTIONS: Mapping[str, tuple[int, int]] = {
    "aten::convolution": (0, 1),
    "aten::_convolution": (0, 1),
    "aten::convolution_overrideable": (0, 1),
}
_GELUS = frozenset({"aten::gelu", "aten::gelu_"})

Arguments = tuple[list[Any], dict[str, Any]]
Bend = Callable[[list[Any], dict[str, Any]], Arguments]


def round_to_hf32(x: torch.Tensor) -> torch.Tensor:
    """`x` with 11 explicit mantissa bits, to nearest, ties to even: an error of at most 2^-12."""
    bits = x.view(torch.int32)
    # Half of the last kept bit, less one where that bit is 0: a tie then goes to the even side, and
    # a carry out of the mantissa moves on into the exponent, where it belongs.
    rounded = bits >> _DROPPED_BITS
    rounded &= 1
    rounded += (1 << (_DROPPED_BITS - 1)) - 1
    rounded += bits
    rounded &= -(1 << _DROPPED_BITS)
    # The addition may carry a NaN's payload into its sign bit and make a number of it.
    return torch.where(x.isnan(), x, rounded.view(torch.float32))


def round_to_fp16(x: torch.Tensor) -> torch.Tensor:
    """`x` with the range and the mantissa of fp16; what is too large becomes infinite."""
    return x.to(torch.float16).to(torch.float32)


def is_matmul(name: str) -> bool:
    """Whether `name` is one of the matrix products."""
    return name in _MATMULS


def bend_of(name: str) -> Bend | None:
    """What this chip does to the arguments of operator `name` before it computes, if anything."""
    if name in _MATMULS:
        return _cube_bend(_MATMULS[name], "aclnnMm", _options.matmul_hf32)
    if name in _CONVOLUTIONS:
        return _cube_bend(_CONVOLUTIONS[name], "aclnnConvolution", _options.conv_hf32)
    if name in _GELUS and SWITCHES.gelu == "tanh" and not SWITCHES.exact:
        return _tanh_gelu
    return None


def _cube_bend(factors: tuple[int, int], kernel: str, hf32_allowed: Callable[[], bool]) -> Bend:
    """The matrix unit: no float64, and fp32 factors rounded as chip and flag have it."""

    def bend(args: list[Any], kwargs: dict[str, Any]) -> Arguments:
        dtype = args[factors[0]].dtype
        if dtype == torch.float64:
            raise _errors.no_double(kernel)
        if dtype != torch.float32 or SWITCHES.exact:
            return args, kwargs
        if SWITCHES.chip == "910A":
            narrow = round_to_fp16
        elif hf32_allowed():
            narrow = round_to_hf32
        else:
            return args, kwargs
        for position in factors:
            args[position] = narrow(args[position])
        return args, kwargs

    return bend


def _tanh_gelu(args: list[Any], kwargs: dict[str, Any]) -> Arguments:
    if _options.compatible_impl():
        return args, kwargs
    return args, {**kwargs, "approximate": "tanh"}
