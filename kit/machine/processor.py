"""The processor: its name, and how many of its cores this process may use."""

from __future__ import annotations

import os
import re
from pathlib import Path


def processor_name() -> str | None:
    """The one line of /proc/cpuinfo that names the processor, None where there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8", "replace") if cpuinfo.is_file() else ""
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def usable_cores() -> int | None:
    """How many cores the process may run on, None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
