"""A model with its weights: from a file that was located, or from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.adapter import Adapter
from kit.errors import CannotRunError
from kit.weights.checkpoint import assign, published_tensors, read_checkpoint
from kit.weights.fingerprint import fingerprint
from kit.weights.random_init import random_state_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model on the CPU, and what identifies its weights, counted over the published tensors."""

    model: nn.Module
    fingerprint: str
    parameters: int
    tensors: int


def load_model(adapter: Adapter, path: Path | None, *, seed: int) -> LoadedModel:
    """Build the architecture and give it the weights of `path`, or random ones where that is None.

    Raises UsageError for a file that does not fit, CannotRunError where the installed library builds
    another architecture than the published one.
    """
    model = adapter.build()
    like = published_tensors(model, adapter.tied)
    parameters = sum(tensor.numel() for tensor in like.values())
    if (len(like), parameters) != (adapter.info.tensors, adapter.info.parameters):
        raise CannotRunError(
            f"the installed {adapter.info.library} builds {adapter.info.architecture} with "
            f"{parameters:,} parameters in {len(like)} tensors, the published model has "
            f"{adapter.info.parameters:,} in {adapter.info.tensors}: install a version of "
            "requirements.txt"
        )
    state_dict = random_state_dict(like, seed) if path is None else read_checkpoint(path, like)
    identity = fingerprint(state_dict)
    assign(model, state_dict, adapter.tied)
    return LoadedModel(model=model, fingerprint=identity, parameters=parameters, tensors=len(like))
