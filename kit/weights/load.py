"""Giving a model its weights: from a file that was located, or from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import CannotRunError
from kit.models.adapter import Adapter
from kit.storage.fingerprint import fingerprint, fingerprint_of_file
from kit.weights.checkpoint import assign, published_tensors, read_checkpoint
from kit.weights.random_init import random_state_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What identifies the weights of a model, counted over the published tensors."""

    fingerprint: str
    parameters: int
    tensors: int


def load_weights(
    adapter: Adapter, model: nn.Module, path: Path | None, *, seed: int
) -> LoadedWeights:
    """Give `model` (adapter.build()) the weights of `path`, or random ones where that is None.

    Raises UsageError for a file that does not fit, CannotRunError where the installed library builds
    another architecture than the published one.
    """
    like = published_tensors(model, adapter.tied)
    parameters = sum(tensor.numel() for tensor in like.values())
    if (len(like), parameters) != (adapter.info.tensors, adapter.info.parameters):
        raise CannotRunError(
            f"the installed {adapter.info.library} builds {adapter.info.architecture} with "
            f"{parameters:,} parameters in {len(like)} tensors, models/{adapter.folder.name}/adapter.py "
            f"says {adapter.info.parameters:,} in {adapter.info.tensors}: correct a new adapter (a tensor "
            "that shares another's storage belongs into `tied`), else install a version of "
            "requirements.txt"
        )
    if path is None:
        state_dict = random_state_dict(like, seed)
        identity = fingerprint(state_dict)
    else:
        state_dict = read_checkpoint(path, like)
        identity = fingerprint_of_file(path, state_dict)
    assign(model, state_dict, adapter.tied)
    return LoadedWeights(fingerprint=identity, parameters=parameters, tensors=len(like))
