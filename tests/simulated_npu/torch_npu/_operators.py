"""What PyTorch's dispatcher tells of an operator."""

from __future__ import annotations

from typing import Any

import torch


def base_name(overload: str) -> str:
    """`aten::add` for `aten::add.Tensor`."""
    return overload.partition(".")[0]


def is_composite(func: Any) -> bool:
    """Whether PyTorch composes this overload of others, so that no device ever sees it."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def require_on_device(op: str) -> None:
    """Refuse an operator that no call can ever name on a device."""
    name = base_name(op).removeprefix("aten::")
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        raise ValueError(f"PyTorch has no operator {op}")
    # An out= overload is the only one of a composite operator that is none itself.
    overloads = [overload for overload in packet.overloads() if not overload.endswith("out")]
    if all(is_composite(getattr(packet, overload)) for overload in overloads):
        raise ValueError(f"{op} is composed of other operators: name one of those")
