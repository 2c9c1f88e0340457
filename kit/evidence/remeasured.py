"""The figures of a finished comparison, measured again from the tensors that lie beside it.

Whoever shows or publishes a comparison asks for this: a summary whose figures fit each other may still be
that of other tensors. It takes torch, so it runs in a process of its own (remeasured_child.py) beside
whatever its asker does meanwhile.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future

from kit.errors import UntrustedError
from kit.evidence.logs import Logs, log
from kit.machine.background import in_background
from kit.machine.bounded import Ended, run_bounded

_SECONDS = 600.0
REFUSED = 4  # the child's exit code for what is not believed; its last line says why


def measuring_again(logs: Logs) -> Future[Ended]:
    """Begin to measure the comparison in `logs` again, in a process of its own."""
    command = [sys.executable, "-m", "kit.evidence.remeasured_child", str(logs.folder.absolute())]
    return in_background(lambda: run_bounded(command, _SECONDS))


def believe(measured: Future[Ended]) -> None:
    """Wait for the end of it. Raises UntrustedError where a figure is not that of the tensors; a process
    that could not measure (it has no torch) is told of, and proves nothing."""
    ended = measured.result()
    last = (ended.err.strip().splitlines() or [ended.how()])[-1]
    if ended.code == REFUSED:
        raise UntrustedError(last)
    if ended.code != 0:
        log.warning(f"the figures were not measured again from the tensors: {last}")
