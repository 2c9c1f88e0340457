"""What the installers of CANN and of the Ascend driver left in files: where they are, which versions.

The places are those of Huawei's installers and, for CANN's, those that torch_npu reads itself; they were
not seen on Ascend hardware by this project.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

ASCEND = Path("/usr/local/Ascend")


def cann_home() -> str | None:
    """Where set_env.sh says that CANN is, None where it was not sourced."""
    return os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")


def cann_version() -> str | None:
    """The version of the CANN whose environment is set, as its installer wrote it; None where unknown."""
    home = cann_home()
    if home is None:
        return None
    with suppress(OSError, ValueError):  # a name too long, a NUL in it
        for pattern in ("ascend_*_install.info", "*/ascend_*_install.info", "runtime/version.info"):
            for path in sorted(Path(home).glob(pattern)):
                if version := _version_in(path):
                    return version
    return None


def driver_version() -> str | None:
    """The version of the Ascend driver, None where it is not seen here."""
    return _version_in(ASCEND / "driver" / "version.info")


def _version_in(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    match = re.search(r"(?im)^version\s*=\s*(\S+)", text)
    return match[1] if match else None
