"""The limits that decide a verdict: their one home.

"Within 1%" is a relative L2 of at most 1% and a largest difference of at most 1% of the reference's
largest value, both. A cosine is not enough: cosine > 0.99 lets a relative L2 of 14% through, since
rel_L2 >= sqrt(1 - cos^2).
"""

from __future__ import annotations

import re
from typing import Annotated

from kit.documented import Documented, says

ONE_PERCENT = 0.01

# A part of an output (kit/accuracy/parts.py) that is further off than this, by its own scale, is lost.
LOST = 0.1

# Two runs of one side may differ by this much (relative L2), or by half the error that is measured.
REPEATABLE = 1e-3


class Thresholds(Documented, frozen=True, kw_only=True):
    """Limits of one output. An adapter that sets others than these says why in `reason`: a sentence, of
    at least three words. Wider limits may pass; a result is ready for submission within 1% only.

    Raises ValueError for other limits without such a reason, or for a limit that is none.
    """

    relative_l2: Annotated[float, says("Largest relative L2.", ge=0, lt=1)] = ONE_PERCENT
    max_over_range: Annotated[
        float, says("Largest max|device - reference| / max|reference|.", ge=0, lt=1)
    ] = ONE_PERCENT
    reason: Annotated[str | None, says("Why they are not the usual 1%; null where they are.")] = (
        None
    )

    def __post_init__(self) -> None:
        limits = (self.relative_l2, self.max_over_range)
        if not all(0 <= limit < 1 for limit in limits):
            raise ValueError(f"thresholds {limits} must lie in [0, 1)")
        if limits != (ONE_PERCENT, ONE_PERCENT) and len(_words(self.reason or "")) < 3:
            raise ValueError(
                f"thresholds {limits} are not the usual ones: say why in a sentence, "
                f"not {self.reason!r}"
            )


def _words(text: str) -> set[str]:
    """Different words of at least two letters; each Chinese character counts as one."""
    return set(re.findall(r"[\u3400-\u9fff]|[^\W\d_]{2,}", text))


USUAL = Thresholds()
