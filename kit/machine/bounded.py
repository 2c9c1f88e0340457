"""A child process that may hang in a driver, abort or never stop printing: its end is always in time."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kit.machine.background import in_background

# What a child prints past this is thrown away.
_KEPT_BYTES = 1 << 20
_TICK_SECONDS = 0.1
# For the last words of a child that has ended.
_LINGER_SECONDS = 0.3


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal), None where it had to be killed.

    `stuck`: it was killed because nothing in it moved, not because its time was over.
    """

    code: int | None
    out: str
    err: str
    stuck: bool = False

    def how(self) -> str:
        """The end in words."""
        if self.code is None:
            return "was ended"
        if self.code < 0:
            with suppress(ValueError):
                return f"was ended by {signal.Signals(-self.code).name}"
        return f"ended with exit code {self.code}"


def run_bounded(
    command: Sequence[str],
    seconds: float,
    *,
    patience: float = math.inf,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run `command` for `seconds` at most. Raises OSError where it cannot be started.

    It is also ended when it has done nothing for `patience` seconds, neither printed nor computed: on a
    busy machine a sound child may be slow, so a tick in which it waits for a processor does not count.
    Its stdin stays open as long as this process lives: a child that reads it ends with its parent.
    Nothing here waits for a child that cannot even be killed, as one that is stuck in a driver.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    out, out_read = _drained(process.stdout)
    err, err_read = _drained(process.stderr)
    end = time.monotonic() + seconds
    idle, printed, used = 0.0, 0, 0.0
    try:
        while (left := end - time.monotonic()) > 0 and idle < patience:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(left, _TICK_SECONDS))
                break
            if len(out) > printed:
                idle, printed = 0.0, len(out)
            if (now := _used_seconds(process.pid)) is not None:
                # A thread that polls now and then is no work.
                idle = idle + _TICK_SECONDS if now - used < _TICK_SECONDS / 4 else 0.0
                used = now
        code = process.returncode
    finally:
        _kill(process)
    wait_for([out_read, err_read], timeout=_LINGER_SECONDS)
    return Ended(
        code,
        out.decode("utf-8", "replace"),
        err.decode("utf-8", "replace"),
        stuck=code is None and idle >= patience,
    )


def _used_seconds(pid: int) -> float | None:
    """The processor time that the process has had; None while it wants some, or where none is told."""
    try:
        threads = [
            path.read_text("utf-8", "replace") for path in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
    except OSError:  # a thread has ended meanwhile
        return None
    # The name, in brackets, may hold anything; then come the state and, eleven further, two times.
    fields = [thread.rpartition(")")[2].split() for thread in threads]
    if not fields or any(field[0] == "R" for field in fields):
        return None
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def _drained(stream: IO[bytes]) -> tuple[bytearray, Future[None]]:
    """What a thread reads from the stream, as it comes, and the thread's end."""
    kept = bytearray()

    def read() -> None:
        while chunk := os.read(stream.fileno(), 1 << 16):
            kept.extend(chunk[: max(0, _KEPT_BYTES - len(kept))])

    return kept, in_background(read)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and its children, which share its session."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
