"""Crafted and random inputs on a device, and what its answers say of its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from kit.devices import Device
from kit.devices.precision import Dtype
from kit.evidence.types.arithmetic import PROBE_SEED, Gelu, ProbedArithmetic, ProductArithmetic
from kit.explain.crafted import SIZE, Product, read_accumulator, read_operands, read_order

_T = TypeVar("_T")
_SIDE = 16  # an image of SIDE x SIDE pixels has a product's SIZE rows
# What a device's RuntimeError, or the lack of an operator or a dtype, is no reason to end a run.
_CANNOT = (RuntimeError, NotImplementedError, TypeError)


def probe_arithmetic(
    device: Device, dtype: Dtype = "float32", seed: int = PROBE_SEED
) -> ProbedArithmetic:
    """Run the battery on `device`, in `dtype`, and read its results. The flags are left as they are, and
    contradictions are left to who knows them. What fails is unknown, with the error."""
    kind = getattr(torch, dtype)
    tries = _Tries()
    with torch.inference_mode():
        products = {
            what: tries.result(what, partial(_product_arithmetic, product, kind, seed), None)
            for what, product in (
                ("matmul", _matmul(device)),
                ("convolution", _convolution(device)),
            )
        }
        gelu: Gelu = tries.result("gelu", partial(_gelu, device, kind), "unknown")
        same = {
            name: tries.result(name, partial(_as_on_cpu, operator, device, kind, seed), None)
            for name, operator in _OPERATORS.items()
        }
    return ProbedArithmetic(
        dtype=dtype,
        seed=seed,
        matmul=products["matmul"],
        convolution=products["convolution"],
        gelu=gelu,
        same_as_cpu=[name for name, equal in same.items() if equal],
        other_than_cpu=[name for name, equal in same.items() if equal is False],
        failed=tries.failed,
        contradictions=[],
    )


class _Tries:
    """What an operator gave, or why it did not."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    def result(self, what: str, read: Callable[[], _T], unknown: _T) -> _T:
        """What `read` gives; `unknown` where the device cannot."""
        try:
            return read()
        except _CANNOT as error:
            self.failed[what] = f"{type(error).__name__}: {error}".partition("\n")[0]
            return unknown


def _matmul(device: Device) -> Product:
    return lambda a, b: torch.mm(a.to(device.spec), b.to(device.spec)).cpu()


def _convolution(device: Device) -> Product:
    """A product as a convolution of one pixel: the rows of `a` are pixels, the columns of `b` filters."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        image = a.t().reshape(1, SIZE, _SIDE, _SIDE).contiguous().to(device.spec)
        filters = b.t().reshape(SIZE, SIZE, 1, 1).contiguous().to(device.spec)
        return F.conv2d(image, filters).cpu().reshape(SIZE, SIZE).t()

    return product


def _product_arithmetic(product: Product, dtype: torch.dtype, seed: int) -> ProductArithmetic:
    operands = read_operands(product, dtype)
    wide = operands.wide_range is True
    order, block = read_order(product, dtype, wide=wide)
    generator = torch.Generator().manual_seed(seed)
    return ProductArithmetic(
        operand_bits=operands.operand_bits,
        rounding=operands.rounding,
        wide_range=operands.wide_range,
        subnormal_operands=operands.subnormal_operands,
        subnormal_results=operands.subnormal_results,
        accumulator_bits=read_accumulator(product, dtype, wide=wide, generator=generator),
        order=order,
        block=block,
    )


def _gelu(device: Device, dtype: torch.dtype) -> Gelu:
    """Which formula, where they are furthest apart for their size: from -4 to -1.5."""
    x = torch.linspace(-4, -1.5, 1001).to(dtype)
    found = F.gelu(x.to(device.spec)).cpu().double()
    erf, tanh = F.gelu(x.double()), F.gelu(x.double(), approximate="tanh")
    apart = ((erf - tanh) / erf).abs().median()
    distances = {
        formula: float(((found - value) / value).abs().median() / apart)
        for formula, value in (("erf", erf), ("tanh", tanh))
    }
    if distances["erf"] < 0.2 and distances["tanh"] > 0.5:
        return "erf"
    return "tanh" if distances["tanh"] < 0.2 and distances["erf"] > 0.5 else "unknown"


_OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": torch.mm,
    "convolution": lambda x, w: F.conv2d(
        x.reshape(1, 64, 32, 32), w.reshape(-1)[: 64 * 64 * 9].reshape(64, 64, 3, 3)
    ),
    "gelu": lambda x, w: F.gelu(x),
    "layer_norm": lambda x, w: F.layer_norm(x, (SIZE,)),
    "softmax": lambda x, w: x.softmax(-1),
    "exp": lambda x, w: x.exp(),
    "tanh": lambda x, w: x.tanh(),
    "sum": lambda x, w: x.sum(-1),
}


def _as_on_cpu(
    operator: Callable[[Tensor, Tensor], Tensor], device: Device, dtype: torch.dtype, seed: int
) -> bool:
    """Whether `operator` gives of random inputs what the CPU gives, bit for bit."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SIZE, SIZE, generator=generator).to(dtype)
    w = torch.randn(SIZE, SIZE, generator=generator).to(dtype)
    here = operator(x, w)
    there = operator(x.to(device.spec), w.to(device.spec)).cpu()
    return torch.equal(here, there)
