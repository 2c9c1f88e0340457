"""What an output is: the role by which it is judged, and the limits that it is judged by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kit.accuracy.thresholds import USUAL, Thresholds

Role = Literal["features", "logits", "token_ids", "step_scores"]


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What an output is: logits have classes or tokens in their last dimension, features do not,
    token_ids are integers that must be equal, step_scores the per-step logits that chose them (named by
    `scores`; they excuse a difference and are not judged by themselves). Thresholds other than the usual
    ones carry a written reason."""

    role: Role
    scores: str | None = None
    thresholds: Thresholds = USUAL


# The key of a safetensors file's metadata under which the roles of its outputs stand, as JSON.
ROLES = "kit_roles"


def describe_roles(outputs: Mapping[str, OutputSpec]) -> dict[str, str]:
    """The metadata of a file of outputs, by which python -m kit judge knows what each of them is."""
    roles = {name: {"role": spec.role, "scores": spec.scores} for name, spec in outputs.items()}
    return {ROLES: json.dumps(roles)}
