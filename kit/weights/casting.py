"""Casting a model to the dtype it runs in, and what that did to its weights.

A cast can break weights silently: a BatchNorm variance above 65,504 becomes infinite in float16, and
every output stays finite. transformers keeps some modules in float32 when it loads half precision,
because the model is known to overflow otherwise (T5's `wo`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from kit.documented import Documented, says

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Frequencies of rotary positions: the library computes them in float32 whatever the model's dtype.
_ROTARY = re.compile(r"(^|[._])inv_freq$")


class Cast(Documented, frozen=True, kw_only=True):
    """What casting the weights to the dtype of the run did. Null where the run ended before."""

    dtype: Annotated[str, says("The dtype of the run, such as float16.")]
    tensors: Annotated[
        int, says("Parameters and buffers that had another dtype, shared ones once.", ge=0)
    ]
    kept_float32: Annotated[
        list[str], says("Tensors that the library keeps in float32 when it loads half precision.")
    ]
    became_infinite: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        says("Finite elements that the cast made infinite, by tensor; tensors with none left out."),
    ]
    became_zero: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        says("Elements that the cast made 0, by tensor; tensors with none left out."),
    ]


def cast_weights(model: nn.Module, dtype: torch.dtype) -> Cast:
    """Cast every floating point parameter and buffer but those that the library keeps in float32."""
    kept = {name: each for name, each in _floating(model) if _is_kept(model, name, each, dtype)}
    infinite, zero = {}, {}
    for name, tensor in _floating(model):
        if name not in kept and tensor.dtype != dtype:
            infinite[name], zero[name] = _lost(tensor, tensor.to(dtype))
    model.to(dtype)
    for name, tensor in kept.items():
        module, _, attribute = name.rpartition(".")
        owner = model.get_submodule(module)
        if attribute in owner._parameters:
            owner.get_parameter(attribute).data = tensor.data
        else:
            owner._buffers[attribute] = tensor
    return Cast(
        tensors=len(infinite),
        dtype=str(dtype).removeprefix("torch."),
        kept_float32=sorted(kept),
        became_infinite={name: count for name, count in infinite.items() if count},
        became_zero={name: count for name, count in zero.items() if count},
    )


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every floating point parameter and buffer, a shared one once, as it is now (not as a view)."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            yield name, parameter.data
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            yield name, buffer


def _is_kept(model: Any, name: str, tensor: Tensor, dtype: torch.dtype) -> bool:
    """By transformers' own lists: one for float16 only, one for bfloat16 as well."""
    import torch

    if dtype not in (torch.float16, torch.bfloat16) or tensor.dtype != torch.float32:
        return False
    lists = ["_keep_in_fp32_modules_strict"]
    lists += ["_keep_in_fp32_modules"] if dtype == torch.float16 else []
    listed = [each for attribute in lists for each in getattr(model, attribute, None) or ()]
    patterns = [re.escape(each).replace(r"\*", ".*") for each in listed]
    return bool(_ROTARY.search(name)) or any(
        re.search(rf"(^|\.){pattern}(\.|$)", name) for pattern in patterns
    )


def _lost(before: Tensor, after: Tensor) -> tuple[int, int]:
    """How many finite elements became infinite, and how many became zero."""
    infinite = int((after.isinf() & before.isfinite()).sum())
    return infinite, int(((after == 0) & (before != 0)).sum())
