"""Time while long work runs: a download's deadline, the pauses between tries, and what people see."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kit.errors import Fault
from kit.words import Reason

# Seconds. A host that gives no answer at all is left after these, all tries together, so that the
# whole chain of sources ends within 10 s on a machine without a network (one named mirror adds 4.5).
ANSWER_SECONDS = 7.0
MIRROR_ANSWER_SECONDS = 4.5
MODELSCOPE_ANSWER_SECONDS = 2.0
TRY_SECONDS = 4.5
# Without a byte for so long, a body has stalled: the connection is given up and resumed, ModelScope's
# SDK is ended.
STALL_SECONDS = 30.0
# Tries in a row that bring nothing new; the pause doubles from BACKOFF_SECONDS.
TRIES = 4
BACKOFF_SECONDS = 0.5
# A server's Retry-After is obeyed up to here; one that asks for more is left.
RETRY_AFTER_LIMIT_SECONDS = 60.0
LINE_SECONDS = 30.0

T = TypeVar("T")


class Deadline:
    """One moment that ends everything that shares it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())


class TransientError(Fault):
    """A fault that the next try may not meet. `answered`: the host had said something; `cure`: what to
    do where no try helps."""

    def __init__(
        self, what: Reason, cure: str, *, answered: bool, retry_after: float | None = None
    ) -> None:
        super().__init__(what, cure)
        self.answered = answered
        self.retry_after = retry_after


class Patience:
    """Bounded retries of one request: how often, after which pause, and how long for an answer."""

    def __init__(self, deadline: Deadline, answer_seconds: float) -> None:
        self.tries = 0
        self._deadline = deadline
        self._answer_seconds = answer_seconds
        self._answer_by = Deadline(answer_seconds)

    def progressed(self) -> None:
        """New bytes arrived: what failed before does not count any more."""
        self.tries = 0

    def answer_seconds(self) -> float:
        """How long the next try may wait for the first word."""
        return min(TRY_SECONDS, self._answer_by.left(), self._deadline.left())

    def pause_after(self, error: TransientError) -> float | None:
        """Seconds to sleep before the next try; None where there is none left."""
        self.tries += 1
        backoff = BACKOFF_SECONDS * 2 ** (self.tries - 1)
        seconds = backoff if error.retry_after is None else error.retry_after
        if error.answered:
            self._answer_by = Deadline(self._answer_seconds + seconds)
        over = self.tries >= TRIES or seconds > RETRY_AFTER_LIMIT_SECONDS
        if over or seconds >= min(self._deadline.left(), self._answer_by.left()):
            return None
        return seconds


class Progress:
    """A bar on a terminal; elsewhere one plain line every LINE_SECONDS through `log`. What is done is
    counted in bytes, or as it is."""

    def __init__(
        self,
        name: str,
        *,
        total: int,
        start: int = 0,
        in_bytes: bool = True,
        log: Callable[[str], None],
    ) -> None:
        self._name, self._total, self._start, self._log = name, total, start, log
        self._in_bytes = in_bytes
        self._begun = self._said = time.monotonic()
        self._bar = _bar(name, total, start, in_bytes) if sys.stderr.isatty() else None

    def show(self, done: int) -> None:
        """`done` of the total are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._log(self._line(done))

    def _line(self, done: int) -> str:
        rate = (done - self._start) / max(time.monotonic() - self._begun, 1e-3)
        left = f"{(self._total - done) / rate:.0f} s left" if rate > 0 else "time left unknown"
        if not self._in_bytes:
            return f"{self._name}: {done} of {self._total}, {left}"
        amount = f"{megabytes(done)} of {megabytes(self._total)}"
        return f"{self._name}: {amount}, {rate / 1e6:.2f} MB/s, {left}"

    def close(self) -> None:
        """Leave the bar where it stands."""
        if self._bar is not None:
            self._bar.close()


def counted(name: str, items: Iterable[T], total: int, log: Callable[[str], None]) -> Iterator[T]:
    """The items, with their progress shown; one counts as done when the next is asked for."""
    progress = Progress(name, total=total, in_bytes=False, log=log)
    try:
        for done, item in enumerate(items, start=1):
            yield item
            progress.show(done)
    finally:
        progress.close()


def _bar(name: str, total: int, start: int, in_bytes: bool) -> Any:
    from tqdm import tqdm  # only here: most runs download nothing

    unit = "B" if in_bytes else "it"
    return tqdm(total=total, initial=start, desc=name, unit=unit, unit_scale=in_bytes)


def megabytes(count: int) -> str:
    """`count` bytes as people read them: '307.9 MB'."""
    return f"{count / 1e6:.1f} MB"
