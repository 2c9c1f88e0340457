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


def load_average() -> float | None:
    """Threads that ran or waited for a core over the last minute, on the whole machine; None where the
    system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def idle_cores(load: float | None) -> int | None:
    """Cores that this process may use and that had nothing to do: those of the machine less the load
    average, rounded to whole ones. None where either is unknown."""
    usable, there = usable_cores(), os.cpu_count()
    if load is None or usable is None or there is None:
        return None
    return max(0, min(usable, there - round(load)))
