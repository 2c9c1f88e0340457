"""Git LFS pointers: what a clone without Git LFS has in the place of a large file."""

from __future__ import annotations

CURE = "run git lfs pull"
_FIRST_LINE = b"version https://git-lfs"


def is_pointer(start: bytes) -> bool:
    """Whether a file that begins with these bytes is such a pointer, not the file itself."""
    return start.startswith(_FIRST_LINE)
