"""How the differences of an output are spread: what a plot of them needs, from one walk over blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kit.accuracy.blocks import as_real, blocks, widen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

BINS_PER_DECADE = 4
EVEN, LARGEST = 900, 100  # points drawn over the whole output, and those of the largest differences
MANY, CELLS = 4, 256  # rows or channels that make a strip, and the most cells it has
_LOWEST, _HIGHEST = -324, 309  # decades that hold every fp64 number above 0
_BINS = (_HIGHEST - _LOWEST) * BINS_PER_DECADE + 1  # and one for 0
_BLOCK = 1 << 15  # elements: as many as stay in the cache, and torch works on in one thread
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """|device - reference| over all `elements`: `zeros` are equal, `nonfinite` have no finite difference,
    the rest is in `counts` between neighbours of `log10_edges`, a quarter of a decade each, the lower
    edge included. The three points lists go together, by index in row-major order; a complex element
    counts as two. `strip` is None where an output has fewer than MANY rows or channels."""

    elements: int
    zeros: int
    nonfinite: int
    log10_edges: list[float]
    counts: list[int]
    index: list[int]
    reference: list[float]
    device: list[float]
    strip: Strip | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The error along an output: `relative_l2` is ||device - reference|| / ||reference|| of each of
    `count` rows (vectors of the last dimension) or channels (indices of dimension 1, where there are
    four or more), None where that cannot be computed; of more than CELLS, the largest of neighbours.
    Six significant digits: more depend on how the blocks are cut."""

    of: Literal["row", "channel"]
    count: int
    relative_l2: list[float | None]


def distribution(reference: Tensor, device: Tensor) -> Distribution:
    """Of two CPU tensors of one shape, not empty. Memory does not grow with their size.

    The points are the 100 largest differences and 900 others, one out of each 900th of the output: at
    a place in it that never falls into step with the output's rows, and is the same every time.
    """
    reference, device = as_real(reference), as_real(device)
    if reference.dim() == 0:
        reference, device = reference.reshape(1), device.reshape(1)
    elements = reference.numel()
    even, largest, strip = _even(elements), _Largest(), _strip_of(reference.shape)
    drawn: dict[int, tuple[float, float]] = {}
    counts, nonfinite = np.zeros(_BINS, np.int64), 0
    for first, ours, theirs in _walk(reference, device):
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(theirs - ours)
        most = float(error.max())  # NaN where there is one
        if not math.isfinite(most):
            error = np.where(np.isfinite(error), error, -1.0)
            nonfinite += int((error < 0).sum())
            most = float(error.max())
        counts += _binned(error)
        if strip:
            strip.add(first, ours, error)
        here = (
            even[np.searchsorted(even, first) : np.searchsorted(even, first + len(error))] - first
        )
        drawn |= _points(first, ours, theirs, here[error[here] >= 0])
        if most > largest.least:
            largest.look_at(first, ours, theirs, error)
    drawn |= largest.points
    edges, counted = _trimmed(counts[1:])
    index = sorted(drawn)
    return Distribution(
        elements=elements,
        zeros=int(counts[0]) - nonfinite,
        nonfinite=nonfinite,
        log10_edges=edges,
        counts=counted,
        index=index,
        reference=[drawn[at][0] for at in index],
        device=[drawn[at][1] for at in index],
        strip=strip.finished() if strip else None,
    )


class _Largest:
    """The points of the largest differences so far, of equal ones the first; `least` is the smallest
    that a new one must be above."""

    def __init__(self) -> None:
        self._found: list[tuple[float, int]] = []
        self.points: dict[int, tuple[float, float]] = {}
        self.least = 0.0

    def look_at(self, first: int, ours: Floats, theirs: Floats, error: Floats) -> None:
        """Take in a block whose first element is number `first`."""
        above = np.flatnonzero(error > self.least)
        at = above[np.argsort(-error[above], kind="stable")[:LARGEST]]
        new = [(-float(error[each]), first + int(each)) for each in at]
        self._found = sorted([*self._found, *new])[:LARGEST]
        points = self.points | _points(first, ours, theirs, at)
        self.points = {each: points[each] for _, each in self._found}
        if len(self._found) == LARGEST:
            self.least = -self._found[-1][0]


class _Sums:
    """Squares of the error and of the reference, by row or channel."""

    def __init__(self, of: Literal["row", "channel"], count: int, stride: int) -> None:
        self._of, self._count, self._stride = of, count, stride
        self._squares = np.zeros((2, count))

    def add(self, first: int, ours: Floats, error: Floats) -> None:
        """Take in a block whose first element is number `first`; a negative error is not finite."""
        at = np.arange(first, first + len(error)) // self._stride % self._count
        with np.errstate(invalid="ignore", over="ignore"):
            for total, values in zip(
                self._squares, (np.where(error < 0, np.nan, error), ours), strict=True
            ):
                total += np.bincount(at, values * values, minlength=self._count)

    def finished(self) -> Strip:
        """The strip of all blocks."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.sqrt(self._squares[0]) / np.sqrt(self._squares[1])
        found[~np.isfinite(found)] = np.nan
        cells = [
            float(f"{np.nanmax(cell):.6g}") if np.isfinite(cell).any() else None
            for cell in np.array_split(found, min(self._count, CELLS))
        ]
        return Strip(of=self._of, count=self._count, relative_l2=cells)


def _strip_of(shape: Sequence[int]) -> _Sums | None:
    """Of channels where there are many, else of rows; None where neither is."""
    if len(shape) >= 4 and shape[1] >= MANY:
        return _Sums("channel", shape[1], math.prod(shape[2:]))
    rows = math.prod(shape[:-1])
    return _Sums("row", rows, shape[-1]) if rows >= MANY else None


def _walk(reference: Tensor, device: Tensor) -> Iterator[tuple[int, Floats, Floats]]:
    # numpy from here on: torch would spread the logarithm of a block over threads that mostly wait.
    for first, ours, theirs in blocks(reference, device, _BLOCK):
        yield first, widen(ours, single=False).numpy(), widen(theirs, single=False).numpy()


def _binned(error: Floats) -> Indices:
    """How many are in each bin; the first has what is not above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        keys = np.log10(error)
    keys *= BINS_PER_DECADE
    np.floor(keys, out=keys)
    keys -= _LOWEST * BINS_PER_DECADE - 1
    np.fmax(keys, 0, out=keys)  # no logarithm, and that of 0
    return np.bincount(keys.astype(np.int64), minlength=_BINS)


def _even(elements: int) -> Indices:
    """One index out of each of EVEN equal parts of range(elements), all where there are no more."""
    if elements <= EVEN + LARGEST:
        return np.arange(elements)
    part = np.arange(EVEN)
    starts = part * elements // EVEN
    sizes = (part + 1) * elements // EVEN - starts
    within: Indices = starts + (part * _GOLDEN % 1.0 * sizes).astype(np.int64)
    return within


def _points(
    first: int, ours: Floats, theirs: Floats, at: Indices
) -> dict[int, tuple[float, float]]:
    pairs = zip(ours[at].tolist(), theirs[at].tolist(), strict=True)
    return dict(zip((at + first).tolist(), pairs, strict=True))


def _trimmed(counts: Indices) -> tuple[list[float], list[int]]:
    """The bins from the first to the last that is not empty; none where all are."""
    used = np.flatnonzero(counts)
    if not len(used):
        return [], []
    low, high = int(used[0]), int(used[-1]) + 1
    edges = [bin / BINS_PER_DECADE + _LOWEST for bin in range(low, high + 1)]
    return edges, counts[low:high].tolist()
