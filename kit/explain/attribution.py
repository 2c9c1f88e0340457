"""Which behaviours the device's error holds: the device beside the CPU under one set of them after another.

Size alone cannot say it: several behaviours hide below a larger one, and formats of one width look alike.
So the error vectors are compared. Where the CPU emulates the very behaviours of the device, the device's
error vector lies on the emulated one, and what is left is the order of the sums. Adding or removing one
behaviour moves the emulated vector by what that behaviour does among the others; the device holds it where
the projection of its error on that step is above one half, which is to say that the set with it is nearer
to the device. From the set that the flags record, steps are taken as long as they come clearly nearer.

A step is always one between whole sets. Under HF32 a small deviation decides which way values round, so
that the error of a behaviour alone and its error beside another one point in different directions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.accuracy.golden import relative_l2
from kit.arithmetic.behaviours import BEHAVIOURS

if TYPE_CHECKING:
    from torch import Tensor

    Outputs = Mapping[str, Tensor]

Names = frozenset[str]
# Runs the model under a set of behaviours; gives its outputs, and how often every behaviour had, or would
# have had, something to change.
Emulate = Callable[[Names], "tuple[Outputs, Counter[str]]"]

OWN_ERROR = 3  # an error up to so many times the CPU fp32's own is fp32's
_NEARER = (
    1.2  # the other set must be so many times further from the device to be told from this one
)
# The distance left, as a share of the error: beyond it other formats are tried, and none is told.
_WELL_EXPLAINED = 0.5


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The outputs that are compared, the same of each side."""

    golden: Outputs
    fp32: Outputs
    device: Outputs

    def distances(self, ours: Outputs, theirs: Outputs) -> dict[str, float]:
        """||ours - theirs|| / ||golden|| of every output."""
        return {
            name: relative_l2(ours[name], theirs[name], golden)
            for name, golden in self.golden.items()
        }

    def errors(self, of: Outputs) -> dict[str, float]:
        """Relative L2 against the golden."""
        return self.distances(of, self.golden)


class Attribution:
    """The search for the set of behaviours that is nearest to the device; every set is run once.

    What `may_run` leaves no time for is not tried, but the recorded set always is.
    """

    def __init__(
        self, sides: Sides, emulate: Emulate, recorded: Names, *, may_run: Callable[[], bool]
    ) -> None:
        self.sides = sides
        self.recorded = recorded
        self._emulate, self._may_run = emulate, may_run
        self._outputs: dict[Names, Outputs] = {frozenset(): sides.fp32}
        self._fires: Counter[str] | None = None
        self._own, self._observed = sides.errors(sides.fp32), sides.errors(sides.device)
        # By the device's own error, so that an early output counts as much as a late one.
        self._scales = {
            name: max(self._observed[name], OWN_ERROR * self._own[name]) or 1.0
            for name in sides.golden
        }

    def search(self, candidates: Sequence[str], others: Sequence[str]) -> Names:
        """The set that steps from the recorded one lead to, each of which comes clearly nearer: formats of
        one width cannot be told apart in most models, and then what the flags say stands. `others` are
        candidates only where what is left is much."""
        best = self.recorded
        self._run(best)
        while True:
            steps = [each for name in candidates if (each := self.step(best, name)) is not None]
            nearer = min(steps, key=self.distance, default=best)
            if nearer != best and self.told_apart(nearer, best):
                best = nearer
            elif others and not self.explains(best):
                candidates, others = [*candidates, *others], ()
            else:
                return best

    def step(self, names: Names, name: str) -> Names | None:
        """The set with the behaviour where it was without, and the other way round, which has been run;
        None where that changes nothing, or there is no time."""
        other = names - {name} if name in names else _with(names, name)
        if other not in self._outputs:
            if self.never_fires(name) or not self._may_run():
                return None
            self._run(other)
        return None if self.never_fires(name) else other

    def ran(self, names: Names) -> Outputs:
        """The outputs under a set that was run."""
        return self._outputs[names]

    def _run(self, names: Names) -> None:
        if names not in self._outputs:
            outputs, self._fires = self._emulate(names)
            self._outputs[names] = {name: outputs[name] for name in self.sides.golden}

    def never_fires(self, name: str) -> bool:
        """Whether nothing in this model is what the behaviour changes, so far as that is known."""
        return self._fires is not None and not self._fires[name]

    def distance(self, names: Names) -> float:
        """From the device, in units of its error; one for a set that was run."""
        return self._combined(self.sides.distances(self._outputs[names], self.sides.device))

    def contribution(self, names: Names, other: Names) -> dict[str, float]:
        """What lies between two sets that were run, by output."""
        return self.sides.distances(self._outputs[names], self._outputs[other])

    def below_own_error(self, figures: Mapping[str, float]) -> bool:
        """Whether distances are fp32's own in every output."""
        return all(figures[name] < OWN_ERROR * self._own[name] for name in figures)

    def explains(self, names: Names) -> bool:
        """Whether the set leaves little of the device's error, or no more than fp32's own."""
        left = self.sides.distances(self._outputs[names], self.sides.device)
        return self.below_own_error(left) or (
            self._combined(left) <= _WELL_EXPLAINED * self._of_nothing()
        )

    def told_apart(self, names: Names, other: Names) -> bool:
        """Whether the device is clearly nearer to the first set than to the other: to neither of two that
        it is, bit for bit."""
        return self.distance(other) > _NEARER * self.distance(names)

    def _of_nothing(self) -> float:
        return self._combined(self._observed)

    def _combined(self, figures: Mapping[str, float]) -> float:
        return math.hypot(*(figures[name] / self._scales[name] for name in figures))


def _with(names: Names, name: str) -> Names:
    """A set with one more behaviour, in the place of those that round the same operands."""
    operators = BEHAVIOURS[name].operators.keys()
    return frozenset(
        {name, *(each for each in names if not operators & BEHAVIOURS[each].operators.keys())}
    )


def in_order(names: Collection[str]) -> list[str]:
    """Names of behaviours as the catalogue lists them."""
    return [name for name in BEHAVIOURS if name in names]
