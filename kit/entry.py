"""Where both scripts begin and end: console logging, errors caught once, exit codes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from kit.cures import cure_for
from kit.errors import CannotRunError, KitError

log = logging.getLogger("kit")


class _Console(logging.Handler):
    """INFO to stdout as it is, warnings to stderr; DEBUG is for the log files only."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr, flush=True)
        elif record.levelno >= logging.INFO:
            print(record.getMessage(), flush=True)


def run_script(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its exit code, or with that of the error it raises."""
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_Console())
    # A scheduler's SIGTERM ends a run as Ctrl-C does: record INTERRUPTED, files whole.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        known = as_kit_error(error)
        print(f"error: {known.message}", file=sys.stderr)
        code = known.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread that is stuck in a driver or in a resolver must not hold the process.
    os._exit(code)


def as_kit_error(error: Exception) -> KitError:
    """Any exception as an error with a next step: known device failures get their cure."""
    if isinstance(error, KitError):
        return error
    text = " ".join(str(error).split())
    if cure := cure_for(text):
        return CannotRunError(f"{cure} ({type(error).__name__}: {text[:300]})")
    return CannotRunError(
        f"unexpected {type(error).__name__}: {text[:300]}; the traceback is in run_npu.log"
    )
