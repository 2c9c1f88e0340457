"""What a config from elsewhere may hold: plain values within bounds, no code, no paths, no addresses."""

from __future__ import annotations

import math
import re
from typing import Any

from kit.errors import UsageError
from kit.words import Reason

_DEEPEST = 12
_MOST_VALUES = 200_000  # a config of 20,000 named classes has 40,000
_LONGEST_TEXT = 20_000
_LARGEST = 10**12
# A count of layers is a loop that runs when the model is built; every other count only sizes a tensor.
_LAYERS = re.compile(r"layers|depth|stages|blocks|num_experts|hidden_layers")
_MOST_LAYERS = 1000


def check_values(config: Any, file: str) -> None:
    """Raise UsageError where a value is nested too deep, too long, too large, or not finite."""
    left = [_MOST_VALUES]

    def check(value: Any, name: str, depth: int) -> None:
        left[0] -= 1
        if depth > _DEEPEST or left[0] < 0:
            raise UsageError(Reason("not_a_config", file=file), Reason("fetch_again"))
        if isinstance(value, dict):
            for key, item in value.items():
                check(item, str(key), depth + 1)
        elif isinstance(value, list):
            for item in value:
                check(item, name, depth + 1)
        elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
            long = Reason("long_text", file=file, name=name, count=len(value))
            raise UsageError(long, Reason("correct_it"))
        elif isinstance(value, (int, float)):
            limit = _MOST_LAYERS if _LAYERS.search(name) else _LARGEST
            # Infinity is a limit that some configs give (Mamba's time steps).
            if math.isnan(value) or (math.isfinite(value) and abs(value) > limit):
                raise UsageError(
                    Reason(
                        "beyond_limit", file=file, name=name, value=str(value), limit=str(limit)
                    ),
                    Reason("correct_it"),
                )

    check(config, file, 0)
