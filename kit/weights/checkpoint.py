"""Reading safetensors files, and making their tensors a model's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


def published_tensors(model: nn.Module, tied: Mapping[str, str]) -> dict[str, Tensor]:
    """The model's state_dict without the aliases: the names that a checkpoint file has."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one or several safetensors files, memory-mapped, and the file of each."""

    tensors: Mapping[str, Tensor]
    files: Mapping[str, Path]


def read_checkpoint(paths: Sequence[Path]) -> Checkpoint:
    """Every tensor of the files. Raises UsageError for a file that is damaged, and for a tensor in two."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    files: dict[str, Path] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    if name in files:
                        raise UsageError(
                            Reason("in_both", name=name, one=files[name].name, other=path.name),
                            Reason("fetch_shards_again"),
                        )
                    tensors[name], files[name] = file.get_tensor(name), path
        except SafetensorError as error:
            raise UsageError(
                Reason("no_safetensors", file=path.name, said=str(error)), Reason("fetch_again")
            ) from error
    return Checkpoint(tensors, files)


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
