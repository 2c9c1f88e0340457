"""What is found of one output, and how a verdict is made of a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kit.accuracy.figures import Metrics

Verdict = Literal["PASS", "FAIL", "INVALID"]


@dataclass(frozen=True, kw_only=True)
class OutputVerdict:
    """One output: PASS, FAIL or INVALID, why, and the figures (None for integers). `blank`: both sides
    are equal, or one value everywhere that is rounded, and hold nothing that could differ."""

    verdict: Verdict
    reasons: tuple[str, ...]
    within_1_percent: bool | None
    metrics: Metrics | None = None
    blank: bool = False


def fail(reason: str) -> OutputVerdict:
    """FAIL without figures."""
    return OutputVerdict(verdict="FAIL", reasons=(reason,), within_1_percent=False)


def invalid(reason: str) -> OutputVerdict:
    """INVALID: what there is cannot be judged."""
    return OutputVerdict(verdict="INVALID", reasons=(reason,), within_1_percent=None)


def blank_of(reason: str) -> OutputVerdict:
    """Equal sides that hold nothing; verdict.settle() says what that is beside the other outputs."""
    return OutputVerdict(verdict="INVALID", reasons=(reason,), within_1_percent=None, blank=True)
