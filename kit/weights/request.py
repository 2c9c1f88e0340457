"""What every source of weights is asked, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from kit.documented import Documented, says
from kit.errors import Fault
from kit.weights.endpoints import offline_by_environment
from kit.weights.model_files import ModelFiles
from kit.weights.progress import Deadline
from kit.weights.room import check_room
from kit.weights.weight_file import WeightFile
from kit.words import Reason

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
    reason: Annotated[Reason, says("Why it ended so.")]
    cure: Annotated[Reason | None, says("The next step; null where there is none.")]
    seconds: Annotated[float, says("How long it took.", ge=0)]

    @property
    def line(self) -> Reason:
        """Why it ended so, and the next step."""
        if self.cure is None:
            return self.reason
        return Reason("and_cure", what=self.reason, cure=self.cure)


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

    def refusal(self) -> Fault | None:
        """Why no host may be asked (any more); None where one may."""
        forbidden = "--offline" if self.offline else offline_by_environment()
        if forbidden:
            return Fault(Reason("forbidden", switch=forbidden), Reason("ask_once"))
        if self.deadline.left() <= 0:
            ended = Reason("deadline", seconds=self.deadline.seconds)
            return Fault(ended, Reason("raise_timeout"))
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


def attempt(
    source: Source, target: str, outcome: Outcome, why: Reason | Fault, started: float
) -> Attempt:
    """An attempt that began at `started` (time.monotonic) and ends now."""
    return Attempt(
        source=source,
        target=target,
        outcome=outcome,
        reason=why.reason if isinstance(why, Fault) else why,
        cure=Reason.said(why.cure) if isinstance(why, Fault) and why.cure else None,
        seconds=round(time.monotonic() - started, 3),
    )
