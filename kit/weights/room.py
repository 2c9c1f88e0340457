"""Whether this machine has the memory for a model: asked of sizes alone, before a byte is read."""

from __future__ import annotations

from kit.errors import CannotRunError
from kit.machine.memory import available_bytes
from kit.words import Reason


def check_room(needed: int, what: str) -> None:
    """Raise CannotRunError where `needed` bytes of weights are more than this process may still take.

    What a forward needs besides is not known here; where the system does not say what is free, nothing is
    refused.
    """
    free = available_bytes()
    if free is not None and needed > free:
        raise CannotRunError(
            Reason("no_room", what=what, needed=needed, free=free),
            Reason("end_programs"),
        )
