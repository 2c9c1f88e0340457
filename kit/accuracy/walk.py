"""One walk over the blocks of a pair of tensors, on several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kit.accuracy.blocks import blocks, fits_single, widen
from kit.accuracy.fills import Fills, without_fills
from kit.accuracy.part_sums import Layout, PartSums, no_sums
from kit.accuracy.ranking import RankTotals
from kit.accuracy.torch_blocks import Read, TorchBlocks
from kit.accuracy.totals import Totals

if TYPE_CHECKING:
    from torch import Tensor

# Elements: the half dozen fp64 arrays of a block stay in the cache (256 KiB each), and torch runs an
# operator on no more than that in one thread (its grain size): others would wait more than they work.
_BLOCK = 1 << 15
# Elements: compiled loops cut it further, and what Python and numpy do for a block is a tenth of the rest.
_COMPILED_BLOCK = 1 << 20
_MOST_THREADS = 16  # each holds a block of both sides, widened: 16 MiB in fp64
# Elements; below this, importing numba takes longer than its kernels save.
_LARGE = 1 << 23


@dataclass
class Found:
    """What a walk gives."""

    totals: Totals
    ranks: RankTotals
    parts: PartSums


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One walk over a pair: what reads its blocks, and on how many threads. `whole`: only the totals are
    asked for, and the sums of the parts may be left out."""

    reference: Tensor
    device: Tensor
    layout: Layout
    ranked: bool = False
    whole: bool = False
    threads: int | None = None
    scale: float = 1.0
    fills: tuple[Fills, Fills] = ((), ())

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Reference and device."""
        return self.reference, self.device

    def run(self) -> Found:
        """The totals, those of rows of classes where there are such, and the sums of the parts."""
        found = Found(Totals(), RankTotals(), no_sums(self.layout))
        for totals, ranks, parts in self._each():
            found.totals.add(totals)
            found.parts.add(parts)
            if ranks is not None:
                found.ranks.add(ranks)
        return found

    def _each(self) -> Iterator[Read]:
        large = self.reference.numel() >= _LARGE
        compiled = large and find_spec("numba") is not None
        size = _COMPILED_BLOCK if compiled else _BLOCK
        walk = blocks(*self.pair, size, row=self._aligned(size))
        read = _Reader(self, compiled=compiled)
        if not large:
            yield from map(read, walk)
            return
        import torch

        # The threads are the blocks'; torch's own within one would only get in their way, and would
        # sum in another order where there are more of them: so even one thread is one of a pool.
        with ThreadPoolExecutor(
            self.threads or min(os.cpu_count() or 1, _MOST_THREADS),
            initializer=lambda: torch.set_num_threads(1),
        ) as pool:
            yield from pool.map(read, walk)

    def _aligned(self, size: int) -> int:
        """The elements of which a block has whole multiples."""
        if self.layout.unit <= size:
            return self.layout.unit
        return self.layout.row if self.ranked or self.layout.columns else 1


class _Reader:
    """Reads the blocks of a walk; every thread has scratch memory of its own."""

    def __init__(self, walk: Walk, *, compiled: bool) -> None:
        self._walk, self._compiled, self._local = walk, compiled, threading.local()
        self._single = fits_single(walk.reference) and fits_single(walk.device)

    def __call__(self, block: tuple[int, Tensor, Tensor]) -> Read:
        if not hasattr(self._local, "read"):
            self._local.read = self._new()
        offset, *sides = block
        sides = [widen(side, single=self._single) for side in sides]
        sides = [without_fills(*each) for each in zip(sides, self._walk.fills, strict=True)]
        if self._walk.scale != 1:
            sides = [side * self._walk.scale for side in sides]
        read: Read = self._local.read(offset, *sides)
        return read

    def _new(self) -> Callable[..., Read]:
        if not self._compiled:
            return TorchBlocks(self._walk.layout, ranked=self._walk.ranked, whole=self._walk.whole)
        from kit.accuracy.compiled.blocks import CompiledBlocks

        return CompiledBlocks(self._walk.layout, ranked=self._walk.ranked)
