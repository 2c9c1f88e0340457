"""A part of an output, and the worst ones: what a verdict and a summary have of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part. `dimension` and `index` say where it is (a row's index is of all dimensions but the
    last; the row of a group is its first); both are None for values within rows. `members` are the
    parts of a scale class, `scale` is its RMS in the reference.

    `relative_l2` is its own, None where the reference has nothing there; `floor` is what rounding may do
    there, relative to the same; `slope` that of device on reference; `above_floor` whether the part
    counts.
    """

    dimension: int | None
    index: tuple[int, ...] | None
    members: int
    elements: int
    scale: float
    relative_l2: float | None
    floor: float | None
    slope: float | None
    above_floor: bool


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The worst row, channel and scale class; None where an output has none. `judged` is how many parts
    there are. `changed_ids` are [column, rows] where a table's column of whole numbers has others.

    Rows of probabilities (not negative, sum 1) also have the largest total variation, sum |e| / 2, and
    the largest Kullback-Leibler divergence, sum r log(r / d), of a row; their smallest values are no
    scale class.
    """

    judged: int
    row: Part | None = None
    channel: Part | None = None
    scale_class: Part | None = None
    changed_ids: tuple[int, int] | None = None
    total_variation: float | None = None
    divergence: float | None = None

    @property
    def named(self) -> dict[str, Part]:
        """Those that are there, by what they are called."""
        parts = {"row": self.row, "channel": self.channel, "scale class": self.scale_class}
        return {name: part for name, part in parts.items() if part is not None}
