"""Which names and which files the kit takes: known before a run begins, not when its record is written."""

from __future__ import annotations

import errno
import stat
import unicodedata
from pathlib import Path

from kit.words import Reason

# Of a file system's name in bytes; a longer one is no file's.
_LONGEST_BYTES = 255


def fits_a_record(name: str) -> bool:
    """Whether a record can hold a file's name and another machine find the file by it.

    It is no path, also not on Windows; it is text (no bytes that are none), on one line.
    """
    unfit = {"Cc", "Cs", "Zl", "Zp"}
    return (
        name not in ("", ".", "..")
        and not set(name) & {"/", "\\"}
        and not any(unicodedata.category(char) in unfit for char in name)
        and len(name.encode("utf-8")) <= _LONGEST_BYTES
    )


def is_text(path: Path) -> bool:
    """Whether the whole path is UTF-8: safetensors opens no other."""
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_regular(path: Path) -> None:
    """Raise OSError, its text a reason, unless `path` is a regular file, or a link to one.

    Opening a pipe, or reading a device, may never return: to be asked before any evidence is opened.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, Reason("is_folder"), path.name)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, Reason("no_regular_file"), path.name)
