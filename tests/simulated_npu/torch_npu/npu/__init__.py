"""The module torch.npu: names and parameters as in torch_npu 2.13.0, the part that programs use."""

from __future__ import annotations

from typing import Any

from .. import _devices, _memory, _options
from . import memory, npu_config, random, streams, utils
from .memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_peak_memory_stats,
)
from .npu_config import (
    is_jit_compile_false,
    set_compile_mode,
    set_option,
)
from .random import get_rng_state, manual_seed, manual_seed_all, set_rng_state
from .streams import Event, Stream
from .utils import (
    current_device,
    current_stream,
    default_stream,
    device,
    is_bf16_supported,
    set_device,
    synchronize,
)

__all__ = [
    "Event",
    "Stream",
    "are_compatible_impl_enabled",
    "config",
    "conv",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "is_jit_compile_false",
    "manual_seed",
    "manual_seed_all",
    "matmul",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "npu_config",
    "random",
    "reset_peak_memory_stats",
    "set_compile_mode",
    "set_device",
    "set_option",
    "set_rng_state",
    "streams",
    "synchronize",
    "use_compatible_impl",
    "utils",
]

config = npu_config._npuConfig()
matmul = npu_config._allowHF32Matmul()
conv = npu_config._allowHF32Conv()


def is_available() -> bool:
    """Whether there is a device."""
    return _devices.count() > 0


def device_count() -> int:
    """How many devices this process sees."""
    return _devices.count()


def is_initialized() -> bool:
    """Whether a device has been used yet."""
    return _devices.is_initialized()


def init() -> None:
    """Open the current device."""
    _devices.initialize()


def get_device_name(device_name: Any = None) -> str:
    """What the device calls itself."""
    _devices.checked_index_of(device_name)
    return _devices.CHIP.name


def get_device_properties(device_name: Any = None) -> _devices.Chip:
    """What the device is: its name, total_memory, cube_core_num and vector_core_num."""
    _devices.checked_index_of(device_name)
    return _devices.CHIP


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes."""
    pool = _memory.pool(_devices.checked_index_of(device))
    return pool.total - pool.used, pool.total


def use_compatible_impl(is_enable: bool) -> None:
    """Whether operators are to follow PyTorch's own formulas."""
    _options.set_options({"TORCH_NPU_USE_COMPATIBLE_IMPL": "1" if is_enable else "0"})


def are_compatible_impl_enabled() -> bool:
    """Whether operators follow PyTorch's own formulas."""
    return _options.compatible_impl()


def _lazy_init() -> None:
    """Called by PyTorch before it makes a tensor on the device."""
    _devices.initialize()


def _is_in_bad_fork() -> bool:
    """Asked by torch.manual_seed(), which seeds the device too unless this is a forked child."""
    return False
