"""A finished comparison takes the place of an earlier one as a whole, or not at all.

Its files are written into a folder inside logs/. That this folder is renamed is the moment from which
the new comparison stands: what a process that was killed then has not moved yet, the next one that
claims logs/ moves.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

_WRITING, _DECIDED, _NAMES = ".comparison", ".comparison-decided", "names.json"


def begin(logs: Path) -> Path:
    """The empty folder into which a comparison is written."""
    folder = logs / _WRITING
    _remove(folder)
    folder.mkdir()
    return folder


def decide(logs: Path, owned: list[str]) -> None:
    """Put what was written in the place of an earlier comparison. `owned` are all names, patterns among
    them, that a comparison's files have: what the new one has not got goes. Raises OSError."""
    written = logs / _WRITING
    names = sorted(str(path.relative_to(written)) for path in _matching(written, owned))
    (written / _NAMES).write_text(json.dumps(names), "utf-8")
    written.rename(logs / _DECIDED)
    settle(logs, owned)


def settle(logs: Path, owned: list[str]) -> None:
    """Finish a decided replacement that was cut short, and drop one that was not decided. Names that no
    comparison has are never followed: logs/ may come from another machine. Raises OSError."""
    _remove(logs / _WRITING)
    decided = logs / _DECIDED
    if decided.is_symlink() or not decided.is_dir():
        _remove(decided)
        return
    try:
        kept = set(json.loads((decided / _NAMES).read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        kept = None  # not of this kit's making, or all that is left of one that was settled
    if kept is not None:
        for path in _matching(logs, owned):
            if str(path.relative_to(logs)) not in kept:
                _remove(path)
        for path in _matching(decided, owned):
            target = logs / path.relative_to(decided)
            target.parent.mkdir(exist_ok=True)
            _remove(target, folders_only=True)
            path.replace(target)
    _remove(decided)


def _matching(folder: Path, owned: list[str]) -> list[Path]:
    """What is in `folder` of the names and patterns `owned`, in their order; links as themselves, and
    nothing behind one."""
    return [
        path
        for pattern in owned
        for path in sorted(folder.glob(pattern))
        if path.parent == folder or not path.parent.is_symlink()
    ]


def _remove(path: Path, *, folders_only: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif not folders_only and os.path.lexists(path):
        path.unlink()
