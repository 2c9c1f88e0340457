"""Outputs that are no evidence: those of heads that no file carried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from kit.evidence.types.shared import Weights

Declared = TypeVar("Declared")


def judged_outputs(outputs: Mapping[str, Declared], weights: Weights | None) -> dict[str, Declared]:
    """The declared outputs without those that depend on random heads."""
    left_out = weights.outputs_of_random_heads if weights else ()
    return {name: each for name, each in outputs.items() if name not in left_out}
