"""From a safetensors file, or from nothing, to a model whose every tensor is accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn


def published_tensors(model: nn.Module, tied: Mapping[str, str]) -> dict[str, Tensor]:
    """The model's state_dict without the aliases: the names that a checkpoint file has."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def read_checkpoint(path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a safetensors file, memory-mapped, if they are exactly those of `like`.

    Raises UsageError for a file that is damaged or has a missing, unexpected or wrongly shaped
    tensor: libraries only warn there and run on with random or wrongly tied parameters.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _check_names(path, shapes, like)
            _check_shapes(path, shapes, like)
            tensors = {name: file.get_tensor(name) for name in like}
    except SafetensorError as error:
        raise UsageError(
            f"{path.name} is damaged or no safetensors file ({error}): fetch it again"
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != like[name].is_floating_point():
            raise UsageError(
                f"{path.name} does not fit: {name} is {tensor.dtype}, the model has "
                f"{like[name].dtype}; give the weights of this model"
            )
    return tensors


def assign(model: nn.Module, state_dict: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
    """Make `state_dict` the parameters and buffers of a meta model, tied aliases included.

    Nothing is copied, and no library's own tying runs: transformers 5 would tie T5's lm_head to its
    embedding although the published checkpoint has two different tensors.
    """
    from torch import nn

    tensors = {
        name: nn.Parameter(tensor, requires_grad=False) if tensor.is_floating_point() else tensor
        for name, tensor in state_dict.items()
    }
    tensors.update({alias: tensors[name] for alias, name in tied.items()})
    buffers = {name for name, _ in model.named_buffers()}
    tensors.update({name: tensors[name].detach() for name in buffers & tensors.keys()})
    model.load_state_dict(tensors, strict=True, assign=True)
    # The fingerprint is of `state_dict`: it tells of the model only if these are the same memory.
    for name, tensor in model.state_dict().items():
        source = state_dict[tied.get(name, name)]
        if tensor.data_ptr() != source.data_ptr():
            raise RuntimeError(f"{name} of the model is not the tensor that was loaded")
    if left := [name for name, tensor in _named_tensors(model) if tensor.is_meta]:
        raise RuntimeError(f"not in the state_dict and left without data: {left}")


def retie(model: nn.Module, tied: Mapping[str, str]) -> None:
    """Let every alias be its tensor again, where a conversion gave each a copy of its own."""
    for alias, name in tied.items():
        module, _, attribute = alias.rpartition(".")
        setattr(model.get_submodule(module), attribute, model.get_parameter(name))


def _named_tensors(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _check_names(path: Path, found: Iterable[str], like: Mapping[str, Tensor]) -> None:
    missing = sorted(set(like) - set(found))
    unexpected = sorted(set(found) - set(like))
    if missing or unexpected:
        parts = [
            f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, word in ((missing, "missing"), (unexpected, "unexpected"))
            if names
        ]
        raise UsageError(
            f"{path.name} does not fit: tensors {' and '.join(parts)}; give the weights of this model"
        )


def _check_shapes(
    path: Path, found: Mapping[str, tuple[int, ...]], like: Mapping[str, Tensor]
) -> None:
    wrong = sorted(name for name in like if found[name] != tuple(like[name].shape))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{path.name} does not fit: {len(wrong)} tensors have another shape ({name} is "
            f"{list(found[name])}, the model has {list(like[name].shape)}); give the weights of "
            "this model"
        )
