"""The arithmetic flags of a run: what --precision asks for, and what the library says it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

Dtype = Literal["float32", "float16", "bfloat16"]
"""What a run may compute in, by torch's names."""
PrecisionName = Literal["default", "strict", "fast"]
PRECISIONS: tuple[PrecisionName, ...] = ("default", "strict", "fast")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What was asked for, what the library reads back, and what did not take the value asked for."""

    requested: PrecisionName
    flags: dict[str, bool | str | None] = field(default_factory=dict)
    not_set: list[str] = field(default_factory=list)


def put_flags(root: Any, flags: Mapping[str, bool]) -> None:
    """Set attributes below `root` by their dotted names."""
    for name, value in flags.items():
        owner, _, attribute = name.rpartition(".")
        setattr(attrgetter(owner)(root), attribute, value)


def set_flags(requested: PrecisionName, root: Any, *names: str) -> Precision:
    """Set boolean attributes below `root`, by their dotted names (strict: off, fast: on), and read all
    of them back: a library that does not know one may take it without a word."""
    precision = Precision(requested=requested)
    wanted = {"strict": False, "fast": True}.get(requested)
    for name in names:
        owner, _, attribute = name.rpartition(".")
        holder = attrgetter(owner)(root)
        if wanted is not None:
            setattr(holder, attribute, wanted)
        precision.flags[name] = getattr(holder, attribute)
        if wanted is not None and precision.flags[name] is not wanted:
            precision.not_set.append(name)
    return precision
