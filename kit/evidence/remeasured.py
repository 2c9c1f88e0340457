"""The figures of a finished comparison, measured again from the tensors that lie beside it.

Whoever shows or publishes a comparison asks for this: a summary whose figures fit each other may still be
that of other tensors. It takes torch; where this process has not loaded it, a process of its own measures
(remeasured_child.py) beside whatever the asker does meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial

from kit.errors import CannotRunError, UntrustedError
from kit.evidence.logs import Logs, log
from kit.machine.background import in_background
from kit.machine.bounded import run_bounded

_SECONDS = 600.0
# The child's exit code where it has no torch. Where it raises a KitError, its last line is a JSON list of
# what happened and the cure.
NO_TORCH = 5


def measuring_again(logs: Logs) -> Callable[[], None]:
    """Begin to measure the comparison in `logs` again. What is returned waits for the end, and raises
    UntrustedError where a figure is not that of the tensors, CannotRunError where measuring broke off: that
    says nothing for the figures. A machine without torch only warns."""
    if "torch" in sys.modules:
        return partial(_here, logs)
    return in_background(partial(_in_a_child, logs)).result


def _here(logs: Logs) -> None:
    from kit.evidence.remeasured_child import check_measured

    check_measured(logs)


def _in_a_child(logs: Logs) -> None:
    command = [sys.executable, "-m", "kit.evidence.remeasured_child", str(logs.folder.absolute())]
    # The blocks of a large output have threads of their own; those within an operator would only wait for
    # each other, and for the asker's work.
    ended = run_bounded(command, _SECONDS, environment=os.environ | {"OMP_NUM_THREADS": "1"})
    last = (ended.err.strip().splitlines() or [ended.how()])[-1]
    for refused in (UntrustedError, CannotRunError):
        if ended.code == refused.exit_code:
            raise refused(*json.loads(last))
    if ended.code == NO_TORCH:
        log.warning("the figures were not measured again from the tensors: there is no torch here")
    elif ended.code != 0:
        raise CannotRunError(
            f"measuring the figures again from the tensors {ended.how()} ({last[:300]})",
            "end other programs and try again, or run compare_accuracy.py again",
        )
