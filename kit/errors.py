"""Errors a user can act on: what happened, with which value, and the next step, on one line.

Raised anywhere, caught once at the entry point (kit/entry.py), which prints the line and exits with
the class's code. The traceback goes to the log, never to the console.
"""

from __future__ import annotations

from typing import ClassVar


class KitError(Exception):
    """An error with an exit code. `message` is one line that ends with the next step."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str) -> None:
        # Messages quote foreign text (paths, other libraries' errors): keep the promise of one line.
        self.message = " ".join(message.split())
        super().__init__(self.message)


class UsageError(KitError):
    """Wrong usage or bad input: an unknown model, a file that is no image, foreign weights."""

    exit_code = 2


class CannotRunError(KitError):
    """The environment cannot: no such device, weights required and absent, disk, logs in use."""

    exit_code = 3


class UntrustedError(KitError):
    """The evidence cannot be trusted: fingerprints differ, a record is damaged, a run is not repeatable."""

    exit_code = 4
