"""The smallest set of things that does it: few questions, each of which costs a forward."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence


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
