"""The arithmetic flags of a run: what --precision asks for, and what the library says it took."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from msgspec import field

from kit.documented import Documented, says

PrecisionName = Literal["default", "strict", "fast"]
PRECISIONS: tuple[PrecisionName, ...] = ("default", "strict", "fast")


class Precision(Documented, frozen=True, kw_only=True):
    """The arithmetic flags of the run. Null where the run ended before."""

    requested: Annotated[PrecisionName, says("--precision.")]
    flags: Annotated[
        dict[str, bool | str | None], says("Flags as the library reads them back.")
    ] = field(default_factory=dict)
    not_set: Annotated[list[str], says("Flags that did not take the value asked for.")] = field(
        default_factory=list
    )


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
