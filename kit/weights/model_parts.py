"""What parts a model has: shared storage, heads, and buffers that no checkpoint holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from kit.weights.library_names import library_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def shared_names(model: nn.Module) -> list[list[str]]:
    """The names of each parameter or buffer of the state_dict that the model has under several, in its
    order. By identity: tensors on the meta device have no address."""
    names: dict[int, list[str]] = {}
    stored = model.state_dict().keys()
    for name, tensor in _named_tensors(model):
        if name in stored:
            names.setdefault(id(tensor), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def aliases_of(model: nn.Module) -> dict[str, str]:
    """{alias: the first name} of every shared tensor."""
    return {alias: first for first, *others in shared_names(model) for alias in others}


def buffers_built(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that the library builds itself, which are in no checkpoint of today's."""
    stored = model.state_dict().keys()
    return {
        name: buffer
        for name, buffer in model.named_buffers()
        if name not in stored and not buffer.is_meta
    }


def worked_out(model: nn.Module, stored: Collection[str]) -> list[str]:
    """The buffers among the `stored` names whose values the library works out when it builds the model: all
    but running statistics."""
    return [
        name
        for name, buffer in model.named_buffers()
        if name in stored
        and not buffer.is_meta
        and not name.endswith(("running_mean", "running_var"))
    ]


def is_head(model: Any, name: str) -> bool:
    """Whether a tensor of the model is of a head: what is put on a base model for a task.

    transformers: what lies outside of the base model, and its pooler; timm: the classifier. BatchNorm's
    count of batches counts as one: inference does not read it, and old checkpoints lack it.
    """
    parts = name.split(".")
    if parts[-1] == "num_batches_tracked":
        return True
    library = library_of(model)
    if library == "transformers":
        base = model.base_model_prefix
        outside = bool(base) and hasattr(model, base) and parts[0] != base
        return outside or "pooler" in parts
    if library == "timm":
        heads = model.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else heads
        return any(name.startswith(f"{head}.") for head in heads)
    return False


def is_part_not_built(model: nn.Module, name: str) -> bool:
    """Whether a tensor of a file is of a named part that this architecture leaves out, as a pretraining
    head beside a classifier.

    Not so what would be one more tensor of a part that is there, or one more layer of a list: such a file
    is of another architecture.
    """
    *path, _ = name.split(".")
    module = model
    for part in path:
        inner = dict(module.named_children()).get(part)
        if inner is None:
            return not part.isdecimal()
        module = inner
    return False


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
