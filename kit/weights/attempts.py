"""What every source of weights is asked, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from kit.documented import Documented, says
from kit.weights.endpoints import offline_by_environment
from kit.weights.progress import Deadline
from kit.weights.room import check_room
from kit.weights.wanted import ModelFiles
from kit.weights.weight_file import WeightFile

Source = Literal[
    "file", "hf-cache", "modelscope-cache", "weights-cache", "hub", "mirror", "modelscope"
]
Outcome = Literal["found", "absent", "refused", "failed", "skipped"]


class Attempt(Documented, frozen=True, kw_only=True):
    """One source of weights that was tried."""

    source: Annotated[Source, says("Where.")]
    target: Annotated[
        str, says("What was looked for, without credentials and without a path of this machine.")
    ]
    outcome: Annotated[Outcome, says("How it ended.")]
    reason: Annotated[
        str, says("Why it ended so, in one line, with the cure at its end where there is one.")
    ]
    seconds: Annotated[float, says("How long it took.", ge=0)]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every source is asked. `mirrors` were checked by endpoints.mirror_list. `to_load`: the weights
    are for this machine's memory, and none is read, hashed or fetched that it could not hold."""

    info: ModelFiles
    offline: bool
    mirrors: tuple[str, ...]
    deadline: Deadline
    log: Callable[[str], None]
    to_load: bool = False

    def check_room(self, size: int, name: str) -> None:
        """Raise CannotRunError where the weights are to be loaded and are too large for this machine."""
        if self.to_load:
            check_room(size, f"{name} of {self.info.hub_id}")

    def refusal(self) -> str | None:
        """Why no host may be asked (any more), with the cure; None where one may."""
        forbidden = "--offline" if self.offline else offline_by_environment()
        if forbidden:
            return f"{forbidden} is set; run once without it, or pass --weights PATH"
        if self.deadline.left() <= 0:
            return f"the deadline of {self.deadline.seconds:g} s ended; raise --download-timeout"
        return None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one source gave: its attempts, and the file and label where it had one.

    `downloaded`: bytes came over the network, even if they were of no use.
    """

    attempts: tuple[Attempt, ...]
    file: WeightFile | None = None
    label: str | None = None
    downloaded: bool = False


def attempt(source: Source, target: str, outcome: Outcome, reason: str, started: float) -> Attempt:
    """An attempt that began at `started` (time.monotonic) and ends now."""
    seconds = round(time.monotonic() - started, 3)
    return Attempt(source=source, target=target, outcome=outcome, reason=reason, seconds=seconds)
