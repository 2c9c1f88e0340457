"""The five largest of one row of logits, as a record has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Labels = Callable[[list[int]], list[str | None]]


def top5(row: Tensor, labels: Labels | None) -> list[dict[str, Any]]:
    """Index, name (None where there are no `labels`) and logit (None where it is not finite), largest
    first, of a 1-D tensor."""
    logits, classes = row.float().topk(min(5, len(row)))
    indices: list[int] = classes.tolist()
    names = labels(indices) if labels else [None] * len(indices)
    return [
        {"index": index, "label": name, "logit": logit if math.isfinite(logit) else None}
        for index, name, logit in zip(indices, names, logits.tolist(), strict=True)
    ]
