"""pretrained_attempt.log: every source of weights that was tried, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from kit.evidence.types.shared import LoadedFile
from kit.weights.request import Attempt


def search_text(attempts: Sequence[Attempt], label: str | None, file: LoadedFile | None) -> str:
    """What stands below the log's first line, by the record alone: `file` is the first that was loaded,
    None for random weights."""
    lines = [
        f"{attempt.source:16} {attempt.outcome:8} {attempt.seconds:8.3f} s  {attempt.target}: "
        f"{attempt.line}"
        for attempt in attempts
    ]
    if file is None:
        lines.append(
            "RESULT: FAILED, no pretrained weights; a random initialisation is not pretrained"
        )
    else:
        lines.append(
            f"RESULT: {label}, {file.bytes} bytes, sha256 {file.sha256} ({file.hash_origin})"
        )
    return "\n".join(lines) + "\n"
