"""One line of the table: what was looked at, how it is, what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("ok", "warning", "broken")
_LONGEST = 400


@dataclass(frozen=True)
class Check:
    """A finding; `cure` is the next step, None exactly where the state is ok."""

    name: str
    state: str
    found: str
    cure: str | None = None

    def __post_init__(self) -> None:
        if self.state not in STATES or (self.cure is None) != (self.state == "ok"):
            raise ValueError(f"{self.name}: {self.state} with the cure {self.cure!r}")
        for name in ("found", "cure"):
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, _plain(text))


def worst(checks: list[Check]) -> str:
    """The state of all together."""
    return max((check.state for check in checks), key=STATES.index, default="ok")


def _plain(text: str) -> str:
    """One printable line: what is quoted comes from drivers, files and the environment."""
    line = " ".join(text.split())
    line = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
