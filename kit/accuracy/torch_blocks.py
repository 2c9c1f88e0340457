"""The figures of one block of a pair of tensors (kit/accuracy/totals.py says what they are), in torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kit.accuracy.part_sums import Layout, PartSums, block_sums, sums_of_block
from kit.accuracy.ranking import TOP, RankTotals, rank_block, scores_of
from kit.accuracy.totals import BIG, CLOSE, SHARES, Totals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from kit.accuracy.part_sums import Flags, Floats
    from kit.accuracy.ranking import Indices, Rows


# What a reader makes of a block.
Read = tuple[Totals, "RankTotals | None", PartSums]


class TorchBlocks:
    """Reads blocks: two contiguous 1-D tensors of one dtype (fp32 or fp64), whose first element is
    number `offset`; where the output is `ranked`, of whole rows of classes. `whole`: the sums of the parts
    are left out."""

    def __init__(self, layout: Layout, *, ranked: bool, whole: bool = False) -> None:
        self._layout, self._ranked = layout, ranked
        self._sums = _no_sums if whole else block_sums

    def __call__(self, offset: int, reference: Tensor, device: Tensor) -> Read:
        double = reference.double(), device.double()
        # What is compared and counted is numpy's here, which takes a third of torch's time.
        finite = np.isfinite(double[0].numpy()) & np.isfinite(double[1].numpy())
        totals = _block_totals(*double, finite, offset)
        parts = self._sums(*double, finite, offset, self._layout)
        if not self._ranked:
            return totals, None, parts
        row = self._layout.row
        rows = (reference.view(-1, row).numpy(), device.view(-1, row).numpy())
        ours, theirs = (_top(side, min(TOP, row)) for side in rows)
        apart, errors = _softmax_difference(*rows), _row_errors(*rows)
        pairs = ((rows[0], ours[:, :1]), (rows[1], theirs[:, :1]), (rows[0], ours[:, 1:2]))
        scores = np.concatenate([scores_of(*pair) for pair in pairs], axis=1)
        ranks = rank_block(*rows, ours, theirs, scores, apart, errors, offset // row)
        return totals, ranks, parts


def _no_sums(
    reference: Tensor, device: Tensor, there: Flags, offset: int, layout: Layout
) -> PartSums:
    return sums_of_block(offset, len(reference), layout)


def _block_totals(reference: Tensor, device: Tensor, finite: Flags, offset: int) -> Totals:
    import torch

    totals = Totals()
    at = None
    if not finite.all():
        _count_nonfinite(totals, reference, device, finite)
        at = torch.from_numpy(finite).nonzero().flatten()
        reference, device = reference[at], device[at]
    totals["finite"] = len(reference)
    if not len(reference):
        return totals
    difference = device - reference
    error, size = difference.abs(), reference.abs()
    totals["abs_diff"] = float(error.sum())
    totals["square_diff"] = float(difference.dot(difference))
    totals["square_reference"] = float(reference.dot(reference))
    totals["square_device"] = float(device.dot(device))
    totals["product"] = float(reference.dot(device))
    totals["reference"], totals["device"] = float(reference.sum()), float(device.sum())
    totals["abs_reference"] = float(size.sum())
    _count_close(totals, error.numpy(), size.numpy())
    _add_relative(totals, error, size)
    largest = int(error.numpy().argmax())
    totals["largest"] = float(error[largest])
    totals.largest_at = offset + (largest if at is None else int(at[largest]))
    totals["reference_min"], totals["reference_max"] = map(float, reference.aminmax())
    totals["device_min"], totals["device_max"] = map(float, device.aminmax())
    return totals


def _count_close(totals: Totals, error: Floats, size: Floats) -> None:
    with np.errstate(over="ignore"):  # beside an infinite error or size, the answer is the same
        for share in SHARES:
            totals[f"within_{share:g}"] += np.count_nonzero(error <= share * size)
        for atol, rtol in CLOSE:
            totals[f"close_{atol:g}_{rtol:g}"] += np.count_nonzero(error <= atol + rtol * size)


def _add_relative(totals: Totals, error: Tensor, size: Tensor) -> None:
    import torch

    quotient = error / size
    for name, least in (("relative", 0.0), ("relative_big", BIG)):
        there = size.numpy() > least
        count = np.count_nonzero(there)
        if count < len(there):  # where there is nothing to divide by, it is not summed
            quotient = quotient.where(torch.from_numpy(there), 0.0)
        totals[name] = float(quotient.sum())
        totals[f"{name}_count"] = int(count)


def _count_nonfinite(totals: Totals, reference: Tensor, device: Tensor, there: Flags) -> None:
    import torch

    finite = torch.from_numpy(there)
    for side, values in (("reference", reference), ("device", device)):
        totals[f"{side}_nan"] = int(values.isnan().sum())
        totals[f"{side}_pos_inf"] = int((values == math.inf).sum())
        totals[f"{side}_neg_inf"] = int((values == -math.inf).sum())
    same_infinity = ~finite & (reference == device)
    both_nan = reference.isnan() & device.isnan()
    totals["disagree"] = int((~finite & ~same_infinity & ~both_nan).sum())
    equal = int(same_infinity.sum())
    for share in SHARES:
        totals[f"within_{share:g}"] = equal
    for atol, rtol in CLOSE:
        totals[f"close_{atol:g}_{rtol:g}"] = equal


def _top(rows: Rows, k: int) -> Indices:
    """Indices [rows, k] of the largest values of each row, ties by the lower index."""
    import torch

    values = torch.from_numpy(rows)
    # A whole sort takes twenty times as long as the k-th largest value, and is for rows that hold that
    # value more often than the first k can show.
    least = values.topk(k, dim=1).values[:, -1:].numpy()
    candidates = ~(rows < least)  # NaN counts as the largest
    few = np.count_nonzero(candidates, axis=1) == k
    top = np.empty((len(rows), k), np.int64)
    if not few.all():
        top[~few] = _order(values[torch.from_numpy(~few)])[:, :k]
    at = candidates[few].nonzero()[1].reshape(-1, k)
    order = _order(torch.from_numpy(np.take_along_axis(rows[few], at, 1)))
    top[few] = np.take_along_axis(at, order, 1)
    return top


def _order(values: Tensor) -> Indices:
    """Indices of each row's values from the largest to the least, ties by the lower index."""
    order: Indices = values.sort(dim=1, descending=True, stable=True).indices.numpy()
    return order


def _softmax_difference(reference: Rows, device: Rows) -> float:
    """The largest |softmax(device) - softmax(reference)| over rows [rows, classes], in fp64."""
    import torch

    ours, theirs = (torch.from_numpy(side).double().softmax(-1) for side in (reference, device))
    return float((theirs - ours).abs().max())


def _row_errors(reference: Rows, device: Rows) -> NDArray[np.float64]:
    """The standard deviation of each row's error, of what is finite."""
    with np.errstate(invalid="ignore"):  # inf - inf
        error = device.astype(np.float64) - reference
    there = np.isfinite(error)
    count = np.maximum(there.sum(1), 1)
    mean = np.where(there, error, 0.0).sum(1) / count
    rest = np.where(there, error - mean[:, None], 0.0)
    return np.asarray(np.sqrt((rest * rest).sum(1) / count))
