"""How much memory this process may still take: what the machine has left, and its control groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def available_bytes(root: Path = Path("/")) -> int | None:
    """The least of what the machine and each control group of this process leave free, in bytes.

    The machine's is MemAvailable of /proc/meminfo. A group's is its limit less its working set (usage
    without the page cache that is first to go, as Kubernetes counts it), for versions 1 and 2, of the
    process's own group and of every group above it. None where no number can be read (no Linux).
    `root` is where proc and sys are mounted.
    """
    machine = _fields(root / "proc/meminfo").get("MemAvailable:")
    free = [] if machine is None else [machine * 1024]
    free += [left for group in _groups(root) if (left := _left_in(group)) is not None]
    return max(0, min(free)) if free else None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's memory groups, up to the mount point.

    A container often mounts its own group as the root of the hierarchy while /proc/self/cgroup still
    gives the path from outside: folders that are not there hold no limit, their parents may.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        group = mount / path.strip("/")
        yield group
        yield from group.parents[: len(group.parts) - len(mount.parts)]


def _left_in(group: Path) -> int | None:
    """Bytes left in one group; None where it has no limit or no files."""
    for limit, usage, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = int(_text(group / limit)), int(_text(group / usage))
        except ValueError:  # "max" is no limit, an empty text no file
            continue
        return most - used + _fields(group / "memory.stat").get(reclaimable, 0)
    return None


def _fields(path: Path) -> dict[str, int]:
    """The lines `name number ...` of a file of the kernel; empty where it cannot be read."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
