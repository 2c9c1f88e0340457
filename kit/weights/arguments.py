"""The options of a download, the same for every command that may make one."""

from __future__ import annotations

import argparse
import math

DOWNLOAD_SECONDS = 1800.0


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --mirror and --download-timeout."""
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="a host to ask after the hub, as is each of KIT_MIRRORS; may be given several times",
    )
    parser.add_argument(
        "--download-timeout",
        type=seconds,
        default=DOWNLOAD_SECONDS,
        metavar="SECONDS",
        help="deadline of all downloads together (default: %(default)g)",
    )


def seconds(text: str) -> float:
    """An argparse type: a positive, finite number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a positive number of seconds")
    return value
