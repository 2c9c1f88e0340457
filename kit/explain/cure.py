"""The cheapest cure of a FAIL: a smallest set of modules that makes it pass when they run another way.

Modules are tried by the size of their own errors, which localisation measured. Every question is a forward
on the device itself, so that what is found is no estimate; how many may be asked is bounded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kit.evidence.types.explanation import CheapestCure, CureWay
from kit.evidence.types.run import FinishedRun
from kit.explain.elsewhere import on_the_cpu, switched
from kit.explain.localise import Layer
from kit.explain.locate import DeviceSide
from kit.models.adapter import Adapter
from kit.words import Reason

if TYPE_CHECKING:
    from kit.accuracy.comparison import Comparison

Judged = Callable[[Mapping[str, Tensor]], "Comparison"]
Way = Callable[[Sequence[str]], AbstractContextManager[None]]
# Of each way.
_MOST_FORWARDS, _MOST_SECONDS = 40, 300.0
Run = Callable[..., Mapping[str, Tensor]]
_CANNOT = (RuntimeError, TypeError, ValueError)


def cheapest_cure(
    layers: Sequence[Layer],
    side: DeviceSide,
    adapter: Adapter,
    run: FinishedRun,
    judged: Judged,
) -> CheapestCure | Reason:
    """What makes the run pass, or why nothing was found. `judged` compares outputs with the reference's."""
    ordered = by_own_error(layers)
    if judged(_outputs(adapter.forward, side)).verdict != "FAIL":
        return Reason("cure_of_further")
    if not ordered:
        return Reason("nothing_to_run_otherwise")
    for name, way in _ways(side, run):
        trials = _Trials(way=way, side=side, judged=judged)
        asked = Questions(partial(trials.passes, adapter.forward), _MOST_FORWARDS, _MOST_SECONDS)
        if not asked(ordered):
            continue
        modules = smallest_passing(ordered, asked)
        found = trials.comparison(adapter.every_output, modules)
        if found and found.verdict == "PASS":
            return _told(name, modules, found, asked.asked + 1)
    return Reason("no_cure", modules=len(ordered))


@dataclass(frozen=True, kw_only=True)
class _Trials:
    """Forwards on the device in which some modules run another way."""

    way: Way
    side: DeviceSide
    judged: Judged

    def comparison(self, run: Run, modules: Sequence[str]) -> Comparison | None:
        """How what `run` gives compares; None where it does not run so."""
        with suppress(*_CANNOT), self.way(modules):
            return self.judged(_outputs(run, self.side))
        return None

    def passes(self, run: Run, modules: Sequence[str]) -> bool:
        """Whether every output does."""
        found = self.comparison(run, modules)
        return found is not None and found.verdict == "PASS"


def _told(way: CureWay, modules: list[str], found: Comparison, forwards: int) -> CheapestCure:
    errors = {
        name: output.metrics.relative_l2 if output.metrics else None
        for name, output in found.outputs.items()
    }
    return CheapestCure(way=way, modules=modules, relative_l2=errors, forwards=forwards)


def by_own_error(layers: Sequence[Layer]) -> list[str]:
    """Modules that differ from the CPU by themselves, the worst first."""
    worst: dict[str, float] = {}
    for layer in layers:
        if layer.error and layer.error.own.whole:
            worst[layer.name] = max(worst.get(layer.name, 0.0), layer.error.own.whole)
    return sorted(worst, key=lambda name: -worst[name])


def _ways(side: DeviceSide, run: FinishedRun) -> Iterator[tuple[CureWay, Way]]:
    """How modules can run otherwise, the cheaper way first."""
    reduced = [
        name
        for name, on in run.precision.flags.items()
        if on is True and name.endswith(("allow_hf32", "allow_tf32"))
    ]

    def strict(on: bool) -> None:
        side.device.put_flags(dict.fromkeys(reduced, not on))

    if reduced:
        yield "strict", lambda names: switched(side.model, names, strict)
    yield "cpu", lambda names: on_the_cpu(side.model, names)


def _outputs(run: Run, side: DeviceSide) -> dict[str, Tensor]:
    """What a forward, or everything that the adapter declares, gives."""
    side.device.synchronize()
    with torch.no_grad():
        return {name: tensor.cpu() for name, tensor in run(side.model, side.inputs).items()}


class Exhausted(Exception):
    """No more questions may be asked."""


class Questions:
    """Asks whether a set passes, at most `most` times, and not after `seconds` seconds."""

    def __init__(
        self, passes: Callable[[Sequence[str]], bool], most: int, seconds: float = math.inf
    ) -> None:
        self._passes, self._most = passes, most
        self._end = time.monotonic() + seconds
        self.asked = 0

    def __call__(self, names: Sequence[str]) -> bool:
        """Whether it passes. Raises Exhausted."""
        if self.asked == self._most or time.monotonic() > self._end:
            raise Exhausted
        self.asked += 1
        return self._passes(names)


def smallest_passing(ordered: Sequence[str], passes: Questions) -> list[str]:
    """A small part of `ordered`, the likeliest first, that passes, where all of it does: the shortest
    beginning of it, then without whatever it passes without too, first by halves and last one by one.
    When no more may be asked, the smallest that passed so far."""
    found = list(ordered)
    try:
        low, high = 0, len(found)
        while high - low > 1:
            middle = (low + high) // 2
            if passes(found[:middle]):
                high, found = middle, found[:middle]
            else:
                low = middle
        size = len(found) // 2
        while size:
            start = 0
            while start < len(found) and len(found) > 1:
                fewer = found[:start] + found[start + size :]
                if fewer and passes(fewer):
                    found = fewer
                else:
                    start += size
            size //= 2
    except Exhausted:
        pass
    return found
