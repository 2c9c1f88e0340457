"""Figures that only some outputs have or some rules ask for: relative error by element against the best
reference, divergence of probabilities, overlap of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from kit.accuracy.blocks import as_real, blocks, widen
from kit.documented import Documented, says

if TYPE_CHECKING:
    from torch import Tensor

# Of CANN's operator precision standard.
_SMALLEST_DIVISOR = 1e-7
_BLOCK = 1 << 18  # elements
_MOST_CLASSES = 4096

RuledDtype = Literal["float32", "float16", "bfloat16"]
# T of its rows, as powers of two; of float32 where HF32 was off.
_ROWS: Mapping[RuledDtype, int] = {"float32": -13, "float16": -10, "bfloat16": -7}
_HF32_ROW = -11


class Further(Documented, frozen=True, kw_only=True):
    """Figures beside the metrics of one output; null where the output has none of that kind."""

    dtype: Annotated[
        RuledDtype | None,
        says("The device's dtype; null where the chip maker's rule has no row for it."),
    ]
    against: Annotated[
        Literal["golden", "reference"] | None,
        says(
            "What the two relative errors are taken against: the golden, else the CPU's fp32; null for "
            "integers."
        ),
    ]
    mere: Annotated[
        float | None,
        says(
            "Mean of |device - g| / (|g| + 1e-7) over the finite positions, g being what `against` "
            "names; null for integers, and where nothing is finite."
        ),
    ]
    mare: Annotated[float | None, says("The largest of them; null where mere is.")]
    divergence: Annotated[
        float | None,
        says(
            "Largest Kullback-Leibler divergence of a row, nats: of the device's softmax from the "
            "reference's. Null for outputs without classes or tokens, and where a row is not finite."
        ),
    ]
    least_iou: Annotated[
        float | None,
        says(
            "Smallest intersection over union of a value of either side; null but for integers and "
            "truth values of two dimensions or more and few values."
        ),
    ]


def measure_further(
    reference: Tensor, device: Tensor, golden: Tensor | None, *, ranked: bool, ids: bool
) -> Further:
    """Of two CPU tensors of one shape; `golden` is the reference in fp64, `ranked` says that the last
    dimension is classes, `ids` that integers are names of tokens. Memory does not grow with them."""
    exact = not (reference.is_floating_point() or reference.is_complex())
    name = str(device.dtype).removeprefix("torch.")
    best = golden if golden is not None and golden.shape == reference.shape else reference
    mere, mare = (None, None) if exact else _relative(as_real(best), as_real(device))
    return Further(
        dtype=next((row for row in _ROWS if row == name), None),
        against=None if exact else "reference" if best is reference else "golden",
        mere=mere,
        mare=mare,
        divergence=largest_divergence(reference, device) if ranked and not exact else None,
        least_iou=_least_iou(reference, device) if exact and not ids else None,
    )


def _relative(golden: Tensor, device: Tensor) -> tuple[float | None, float | None]:
    """Mean and largest |device - golden| / (|golden| + 1e-7)."""
    import torch

    total, count, largest = 0.0, 0, 0.0
    if golden.dim() == 0:
        golden, device = golden.reshape(1), device.reshape(1)
    for _, g, d in blocks(golden, device, _BLOCK):
        g, d = (widen(side, single=False) for side in (g, d))
        error = (d - g).abs_().div_(g.abs().add_(_SMALLEST_DIVISOR))
        finite = error[torch.isfinite(error)]
        if len(finite):
            total, count = total + float(finite.sum()), count + len(finite)
            largest = max(largest, float(finite.max()))
    return (total / count, largest) if count else (None, None)


def largest_divergence(reference: Tensor, device: Tensor) -> float | None:
    """The largest Kullback-Leibler divergence (nats) of all rows, of softmax over the last dimension; None
    where one is not finite. Classes that are masked on both sides have no part in it."""
    import torch

    width, largest = reference.shape[-1], 0.0
    for _, r, d in blocks(reference, device, _BLOCK, row=width):
        ours, theirs = (
            widen(side, single=False).reshape(-1, width).log_softmax(dim=1) for side in (r, d)
        )
        part = ours.exp() * (ours - theirs)
        part[torch.isneginf(ours)] = (
            0.0  # no chance by the reference: no loss whatever the device says
        )
        rows = part.sum(dim=1)
        if not bool(torch.isfinite(rows).all()):
            return None
        largest = max(largest, float(rows.max()))
    return largest


def _least_iou(reference: Tensor, device: Tensor) -> float | None:
    """Over the values of either side, from one count of pairs."""
    import torch

    if reference.dim() < 2:
        return None
    values = torch.cat([reference.unique().long(), device.unique().long()]).unique()
    if not 1 < len(values) <= _MOST_CLASSES:
        return None
    ours, theirs, both = torch.zeros(3, len(values), dtype=torch.int64)
    for _, r, d in blocks(reference, device, _BLOCK):
        r, d = (torch.searchsorted(values, side.reshape(-1).long()) for side in (r, d))
        ours += torch.bincount(r, minlength=len(values))
        theirs += torch.bincount(d, minlength=len(values))
        both += torch.bincount(r[r == d], minlength=len(values))
    return float((both / (ours + theirs - both)).min())


def operator_limit(further: Further, *, hf32: bool) -> float | None:
    """T of CANN's operator precision standard (ecosystem level): MERE < T and MARE < 10 T. It is a rule
    for single operators; a whole network's output may honestly exceed it."""
    if further.dtype is None or further.mere is None:
        return None
    power = _HF32_ROW if hf32 and further.dtype == "float32" else _ROWS[further.dtype]
    return math.ldexp(1.0, power)
