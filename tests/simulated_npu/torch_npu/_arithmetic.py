"""How an NPU's arithmetic differs from a CPU's: input rounding, accumulation, the formula of GELU.

Sources: the torch_npu 2.13.0 wheel (npu/npu_config.py: the flags and their defaults), its control
flow over a do-nothing CANN (a default convolution asks for cubeMathType 3 = HF32, a default matrix
product for 0 = keep the dtype, and both follow the flags), Ascend's description of HF32 (the range
of fp32 with 11 explicit mantissa bits; 910B and later) and of aclnnGelu (the tanh formula). A 910A
has no fp32 matrix unit: there both kinds of operator work on fp16. Nothing here was measured on
hardware. An NPU's order of accumulation is not known; the switches give some that it may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from . import _errors, _options
from ._switches import SWITCHES

_FP32_MANTISSA_BITS = 23
_HF32_MANTISSA_BITS = 11

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


Kernel = Callable[..., Any]


def round_to_hf32(x: torch.Tensor) -> torch.Tensor:
    """`x` with 11 explicit mantissa bits, to nearest, ties to even: an error of at most 2^-12."""
    return round_to_bits(x, _HF32_MANTISSA_BITS)


def round_to_bits(x: torch.Tensor, kept: int, *, nearest: bool = True) -> torch.Tensor:
    """`x` with `kept` explicit mantissa bits: to nearest, ties to even, or the others cut off."""
    dropped = _FP32_MANTISSA_BITS - kept
    if not dropped:
        return x
    bits = x.view(torch.int32)
    rounded = bits
    if nearest:
        # Half of the last kept bit, less one where that bit is 0: a tie then goes to the even side,
        # and a carry out of the mantissa moves on into the exponent, where it belongs.
        rounded = ((bits >> dropped) & 1) + ((1 << (dropped - 1)) - 1) + bits
    rounded = rounded & -(1 << dropped)
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
        for position in factors:
            args[position] = _factor(args[position], hf32=hf32_allowed())
        return args, kwargs

    return bend


def _factor(x: torch.Tensor, *, hf32: bool) -> torch.Tensor:
    """An input as the matrix unit takes it in."""
    if SWITCHES.subnormals == "flush":
        x = _flushed(x)
    if SWITCHES.chip == "910A":
        return round_to_fp16(x)
    bits = SWITCHES.bits or (_HF32_MANTISSA_BITS if hf32 else _FP32_MANTISSA_BITS)
    return round_to_bits(x, bits, nearest=SWITCHES.rounding == "nearest")


def _flushed(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x.abs() < torch.finfo(x.dtype).tiny, 0.0, x)


def kernel_of(name: str) -> Kernel | None:
    """How the matrix unit sums the products of operator `name`, if not as the CPU does. The in-place and
    out= forms, and what no model calls, stay the CPU's."""
    bent = SWITCHES.accumulation == "fp64" or SWITCHES.block or SWITCHES.subnormals == "flush"
    if SWITCHES.exact or not bent or name not in _INNER:
        return None
    return partial(_summed, *_INNER[name])


# Where the inner dimension of each factor is; a convolution without groups sums over its channels.
_INNER: Mapping[str, tuple[int, int, int, int]] = {
    "aten::mm": (0, -1, 1, -2),
    "aten::bmm": (0, -1, 1, -2),
    "aten::mv": (0, -1, 1, -1),
    "aten::dot": (0, -1, 1, -1),
    "aten::addmm": (1, -1, 2, -2),
    "aten::baddbmm": (1, -1, 2, -2),
    "aten::convolution": (0, 1, 1, 1),
}


def _summed(
    left: int, left_dim: int, right: int, right_dim: int, func: Any, *args: Any, **kwargs: Any
) -> torch.Tensor:
    """The result of `func` with its products summed in the given width, block after block. An operand
    that is added (addmm's, a bias) is added with the first block."""
    dtype = args[left].dtype
    if dtype != torch.float32 or "out" in kwargs:
        return func(*args, **kwargs)  # type: ignore[no-any-return]
    wide = torch.float64 if SWITCHES.accumulation == "fp64" else torch.float32
    values = [x.to(wide) if isinstance(x, torch.Tensor) else x for x in args]
    length = values[left].shape[left_dim]
    block = SWITCHES.block or length
    if values[right].shape[right_dim] != length or not length:  # groups
        block = length = max(length, 1)
    total = None
    for start in range(0, length, block):
        part = list(values)
        for position, dim in ((left, left_dim), (right, right_dim)):
            if block < length:
                size = min(block, length - start)
                part[position] = values[position].narrow(dim, start, size)
        if start:
            _without_addend(part, left)
        term = func(*part, **kwargs)
        total = term if total is None else total + term
    assert total is not None
    result = total.to(dtype)
    return _flushed(result) if SWITCHES.subnormals == "flush" else result


def _without_addend(args: list[Any], left: int) -> None:
    if left == 1:
        args[0] = torch.zeros_like(args[0])
    elif len(args) > 2:  # a convolution's bias
        args[2] = None


def _tanh_gelu(args: list[Any], kwargs: dict[str, Any]) -> Arguments:
    if _options.compatible_impl():
        return args, kwargs
    return args, {**kwargs, "approximate": "tanh"}
