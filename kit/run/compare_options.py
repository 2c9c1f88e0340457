"""The command line of compare_accuracy.py."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.entry import parser_of, path_given

Choice = Literal["auto", "on", "off"]
CHOICES: tuple[Choice, ...] = ("auto", "on", "off")


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What compare_accuracy.py was asked. `weights` and `data` are the run's, where they lie elsewhere on
    this machine; `golden` and `explain`: auto leaves out what memory or time does not allow."""

    logs: Path
    weights: Path | None
    data: Path | None
    golden: Choice
    explain: Choice
    rejudge: bool
    localize: bool


def parse_compare_options(documentation: str | None) -> CompareOptions:
    """The command line; ends the process with exit code 2 where it is wrong."""
    parser: argparse.ArgumentParser = parser_of(documentation)
    add = parser.add_argument
    add("--logs", type=path_given, default="logs", metavar="DIR", help="of the run (default: logs)")
    add(
        "--weights",
        type=path_given,
        metavar="PATH",
        help="the run's weights file, where it lies elsewhere on this machine",
    )
    add(
        "--data",
        type=path_given,
        metavar="DIR|FILE",
        help="the run's --data, where it lies elsewhere on this machine",
    )
    add(
        "--golden",
        choices=CHOICES,
        default="auto",
        help="the golden: the reference again, in fp64 throughout (default: auto, where memory holds it)",
    )
    add(
        "--explain",
        choices=CHOICES,
        default="auto",
        help="which arithmetic explains the difference (default: auto, at most a quarter of the time)",
    )
    how = parser.add_mutually_exclusive_group()
    for name, help_text in (
        ("--rejudge", "judge the saved outputs again; runs no model"),
        (
            "--localize",
            "find the first bad module, on the run's device or from what inference.py --localize recorded",
        ),
    ):
        how.add_argument(name, action="store_true", help=help_text)
    return CompareOptions(**vars(parser.parse_args()))
