"""What an output of classes or tokens says row by row: top-1, top-5, and the softmax's probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.accuracy.figures import RankedRow, Ranking
from kit.accuracy.totals import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Rows = NDArray[np.float32] | NDArray[np.float64]
    Indices = NDArray[np.int64]

# How many of a row's largest are compared: top-5.
TOP = 5
# Rows whose top-1 differs beyond excuse are looked at one by one up to here: they have failed by then.
_ENOUGH = 16
_ROUGHEST = 2.0**-8  # the unit roundoff of bf16
_FINE = 0x1FFF  # bits of an fp32 fraction that no 16-bit format has


@dataclass
class RankTotals:
    """Running figures over blocks of rows."""

    rows: int = 0
    top5_agree: int = 0
    smallest_margin: float = math.inf
    softmax_max_diff: float = 0.0
    explained: float = 0.0
    disputed: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, other: RankTotals) -> None:
        """Take in the figures of later rows."""
        self.rows += other.rows
        self.top5_agree += other.top5_agree
        self.smallest_margin = min(self.smallest_margin, other.smallest_margin)
        # max() would drop a NaN or keep it, as the order is.
        pair = (self.softmax_max_diff, other.softmax_max_diff)
        self.softmax_max_diff = math.nan if any(map(math.isnan, pair)) else max(pair)
        self.explained += other.explained
        self.disputed += other.disputed


def grain(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row (the last dimension), the unit roundoff of the 16-bit format that holds every finite
    value of it, the coarser of two; 0 where none does. An output that was computed in bf16 and is stored
    in fp32 shows it."""
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
        bits = single.view(np.uint32)
        # Neither format has more than the first ten bits of a fraction: mostly that decides.
        if ((bits & _FINE) != 0).any(-1).all():
            return np.zeros(rows.shape[:-1])
        half = rows.astype(np.float16)
    nowhere = ~np.isfinite(rows)
    bf16 = (nowhere | ((single == rows) & (bits & 0xFFFF == 0))).all(-1)
    fp16 = (nowhere | (half == rows)).all(-1)
    return np.asarray(np.where(bf16, 2.0**-8, np.where(fp16, 2.0**-11, 0.0)))


def rank_block(
    reference: Rows,
    device: Rows,
    ours: Indices,
    theirs: Indices,
    scores: NDArray[np.float64],
    softmax_max_diff: float,
    errors: NDArray[np.float64],
    first_row: int,
) -> RankTotals:
    """The figures of some rows [rows, classes], of which the first has the number `first_row`.
    `errors` [rows] are the standard deviations of their errors.

    `ours` and `theirs` [rows, k] are the largest of the reference's and the device's rows, in order,
    `scores` [rows, 3] the first of both sides and the reference's second. In numpy: on arrays this small,
    torch's dispatch costs more than the work.
    """
    totals = RankTotals(rows=len(reference), softmax_max_diff=softmax_max_diff)
    # As sets: within the five, neighbours may change places by rounding alone.
    other = (ours != theirs).any(axis=1)
    same = (np.sort(ours[other]) == np.sort(theirs[other])).all(axis=1)
    totals.top5_agree = len(ours) - int(len(same) - same.sum())
    changed = np.flatnonzero(ours[:, 0] != theirs[:, 0])
    totals.disputed = [
        (first_row + int(row), int(ours[row, 0]), int(theirs[row, 0])) for row in changed
    ]
    if ours.shape[1] > 1:
        first, device_first, second = scores.T
        coarse = (device_first.astype(np.float32).view(np.uint32) & _FINE == 0) * _ROUGHEST
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # inf - inf: no margin
            margin = first - second
            totals.smallest_margin = float(np.fmin.reduce(margin, initial=math.inf))
            # Beyond, a row's largest class changes by no more than e^-100.
            near = np.flatnonzero(~(margin > 20 * (errors + coarse * np.abs(first))))
        scores, largest = scores_of(reference, ours, near), scores_of(device, theirs, near)
        totals.explained = _explained(scores, largest, errors[near])
    return totals


def scores_of(rows: Rows, at: Indices, numbers: Indices | None = None) -> NDArray[np.float64]:
    """What stands in each row [rows, classes], or in those of some `numbers`, at its indices `at`
    [rows, k]: no row is copied for it."""
    if numbers is None:
        numbers = np.arange(len(rows))
    return rows[numbers[:, None], at[numbers]].astype(np.float64)


def _explained(
    scores: NDArray[np.float64], largest: NDArray[np.float64], errors: NDArray[np.float64]
) -> float:
    """How many rows' largest class their errors are expected to change (figures.Ranking.explained); of
    each row, the reference's and the device's largest `scores`, and its error."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Rounding to 16 bits moves the largest of a row more than the rest: evenly by up to grain
        # |value|, whose standard deviation is that over sqrt(3).
        rounding = grain(largest) * np.abs(scores[:, 0]) / math.sqrt(3)
        errors = np.hypot(errors, np.where(rounding < math.inf, rounding, 0.0))
        margins = scores[:, :1] - scores[:, 1:]
        chances = np.exp(-((margins / errors[:, None]) ** 2) / 4) / 2
    # A row without any error changes nothing, whatever it is divided by.
    chances[~((chances > 0) & (errors > 0)[:, None])] = 0.0
    return float(np.minimum(chances.sum(1), 1.0).sum())


def finish_ranking(totals: RankTotals, row: Callable[[int], tuple[Tensor, Tensor]]) -> Ranking:
    """The ranking of a whole output; `row` gives one row of both sides (1-D) by its number."""
    disputed: list[RankedRow] = []
    beyond_excuse = 0
    for number, reference_top1, device_top1 in totals.disputed:
        disputed.append(top1_dispute(*row(number), reference_top1, device_top1, number))
        beyond_excuse += not disputed[-1].excused
        if beyond_excuse == _ENOUGH:
            break
    return Ranking(
        rows=totals.rows,
        top1_agree=totals.rows - len(totals.disputed),
        top5_agree=totals.top5_agree,
        smallest_margin=finite(totals.smallest_margin),
        softmax_max_diff=finite(totals.softmax_max_diff),
        explained=totals.explained,
        disputed=tuple(disputed),
    )


def top1_dispute(
    reference: Tensor, device: Tensor, reference_top1: int, device_top1: int, row: int = 0
) -> RankedRow:
    """What decides a dispute about the top class of one row of scores (1-D each): the reference's own
    margin, and the row's error without what all classes share, which moves no class."""
    ours, theirs = reference.double().numpy(), device.double().numpy()
    with np.errstate(
        invalid="ignore", over="ignore", divide="ignore"
    ):  # inf - inf, or nothing there
        difference = theirs - ours
        there = np.isfinite(difference)
        # Equal infinities (masked classes) are no error, and other ones leave none that is a number.
        broken = not there.any() or bool((ours != theirs)[~there].any())
        values = ours[there]
        difference -= difference[there].sum() / len(values)
        error = math.nan if broken else _norm(difference[there])
        norm = _norm(values - values.sum() / len(values))
        margin = float(ours[reference_top1] - ours[device_top1])
    there[[reference_top1, device_top1]] = False
    noise = np.abs(difference[there])
    at = max(1, math.ceil(0.99 * len(noise))) - 1
    p99 = float(np.partition(noise, at)[at]) if len(noise) else 0.0
    sizes = np.abs(theirs[[reference_top1, device_top1]])
    if np.isfinite(sizes).all():
        p99 += float(grain(theirs) * sizes.mean())
    return RankedRow(
        row=row,
        reference_top1=reference_top1,
        device_top1=device_top1,
        margin=finite(margin),
        noise_p99=p99,
        row_relative_l2=finite(error / norm) if 0 < norm < math.inf else None,
    )


def _norm(values: NDArray[np.float64]) -> float:
    return math.sqrt(values @ values)


def top5_of_both(
    reference: Tensor, device: Tensor, labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """The classes among the first five of either side, in the first row of two outputs, by the
    reference's order: both scores (None where not finite), and both ranks from 1."""
    ours, theirs = (side.reshape(-1, side.shape[-1])[0].double() for side in (reference, device))
    ranks = [_ranks(side) for side in (ours, theirs)]
    wanted = {at: rank for at, rank in enumerate(ranks[0]) if min(rank, ranks[1][at]) <= 5}
    return [
        {
            "index": at,
            "label": labels.get(at),
            "reference": finite(float(ours[at])),
            "device": finite(float(theirs[at])),
            "reference_rank": ranks[0][at],
            "device_rank": ranks[1][at],
        }
        for at in sorted(wanted, key=wanted.__getitem__)
    ]


def _ranks(row: Tensor) -> list[int]:
    """The rank from 1 of every class of a row, largest first, ties by the lower index."""
    ranks: list[int] = (row.sort(descending=True, stable=True).indices.argsort() + 1).tolist()
    return ranks
