"""torch.npu's view of the devices' memory. Nothing is cached, so reserved is what is allocated."""

from __future__ import annotations

from typing import Any

from .. import _devices, _memory


def empty_cache() -> None:
    """Nothing is cached that could be given back."""


def memory_stats(device: Any = None) -> dict[str, int]:
    """The byte counts that are kept here, under the real keys; empty before the first use."""
    if not _devices.is_initialized():
        return {}
    pool = _memory.pool(_devices.index_of(device))
    return {
        f"{kind}_bytes.all.{moment}": count
        for kind in ("active", "allocated", "reserved")
        for moment, count in (("current", pool.used), ("peak", pool.peak))
    }


def memory_allocated(device: Any = None) -> int:
    """Bytes that live tensors hold."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that live tensors held since the last reset."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the device."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the device since the last reset."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Measure the peaks from here on."""
    _memory.pool(_devices.index_of(device)).reset_peak()
