"""Files that are there whole or not at all, and alone in the hands of one process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """An empty file beside `target` (.NAME.*.tmp): what the block writes there takes the place of `target`,
    with the user's umask and on the disk, unless the block raises. Raises OSError."""
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(stat.S_IMODE(mode))  # safetensors writes 0600 whatever the umask
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def take(file: IO[bytes] | int, *, wait: bool) -> bool:
    """Whether the open file, or a descriptor, is now in use by this process alone, until it is closed.

    False also where the system (Windows) or the disk knows no such locks.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
