"""Work that goes on while the main thread imports torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

log = logging.getLogger("kit")

T = TypeVar("T")


def in_background(task: Callable[[], T]) -> Future[T]:
    """Run `task` in a daemon thread, which unlike an executor's never holds an interrupted process."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(task())
        except BaseException as error:  # handed on: Future.result() raises it in the caller
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


class LogGate:
    """Keeps lines of a background thread back until the main thread has logged its first one.

    The thread itself never waits: it may be under a deadline.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: list[str] | None = []

    def open(self, line: str) -> None:
        """Log the first line, then the waiting ones, and let further ones through."""
        log.info(line)
        with self._guard:
            waiting, self._waiting = self._waiting or [], None
        for late in waiting:
            log.info(late)

    def log(self, line: str) -> None:
        """Log a line as soon as the gate is open."""
        with self._guard:
            if self._waiting is not None:
                self._waiting.append(line)
                return
        log.info(line)
