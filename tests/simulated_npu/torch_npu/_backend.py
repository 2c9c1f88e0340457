"""Makes `npu` a device that PyTorch's dispatcher knows.

PyTorch keeps the name PrivateUse1 for a backend from outside, and lets Python provide it whole
(torch.utils.backend_registration._setup_privateuseone_for_python_backend, pytorch pull request
157859, marked experimental there). Where that function is missing, in torch 2.9, the device has its
name, its module and its allocations, and lacks the guard that autograd and some methods ask for:
see _no_guard.py, and use no_grad or inference_mode.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch.utils import backend_registration

from . import _no_guard, _tensor

# Registrations last as long as these objects.
_kernels = torch.library.Library("aten", "IMPL")
_fallback = torch.library.Library("_", "IMPL")


def register(module: ModuleType) -> None:
    """Make `module` torch.npu and give the device its name and its allocator."""
    whole = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if whole is not None:
        whole("npu", backend_module=module)
    else:
        backend_registration.rename_privateuse1_backend("npu")
        backend_registration.generate_methods_for_privateuse1_backend()
        torch._register_device_module("npu", module)
        _no_guard.bypass()
    _kernels.impl("empty.memory_format", _empty, "PrivateUse1")
    _kernels.impl("empty_strided", _empty_strided, "PrivateUse1")
    _kernels.impl("_copy_from", _copy_from, "PrivateUse1")
    _kernels.impl("_local_scalar_dense", _scalar, "PrivateUse1")
    _fallback.fallback(_run, "PrivateUse1")


def _empty(
    size: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    memory_format: torch.memory_format | None = None,
) -> torch.Tensor:
    memory_format = memory_format or torch.contiguous_format
    inner = torch.empty(size, dtype=dtype, device="cpu", memory_format=memory_format)
    return _tensor.allocate(inner, device)


def _empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> torch.Tensor:
    inner = torch.empty_strided(size, stride, dtype=dtype, device="cpu")
    return _tensor.allocate(inner, device)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> Any:
    """copy_ where `__torch_dispatch__` is switched off, as inside torch.tensor(..., device=...)."""
    return _tensor.run(torch.ops.aten.copy_.default, (target, source), {})


def _scalar(source: torch.Tensor) -> Any:
    """item() where `__torch_dispatch__` is switched off, as inside torch.tensor([...tensors...])."""
    return _tensor.run(torch.ops.aten._local_scalar_dense.default, (source,), {})


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Operators that make a tensor from none and that PyTorch does not build on empty()."""
    return _tensor.run(op, args, kwargs)
