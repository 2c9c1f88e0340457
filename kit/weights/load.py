"""Giving a model its weights: from a file that was located, or from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import CannotRunError
from kit.models.adapter import Adapter
from kit.storage.fingerprint import fingerprint, fingerprint_of_files
from kit.weights.batch_statistics import VARIANCE, fit_statistics
from kit.weights.checkpoint import assign, published_tensors, read_checkpoint
from kit.weights.fitting import Account, fit
from kit.weights.model_parts import aliases_of, worked_out
from kit.weights.random_init import random_state_dict
from kit.weights.room import check_room
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What identifies the weights of a model, counted over the tensors that share no other's storage.

    `account` says what became of every tensor of the file; None for a random initialisation. `tied` are the
    aliases, {alias: the name whose storage it shares}.
    """

    fingerprint: str
    parameters: int
    tensors: int
    tied: Mapping[str, str]
    account: Account | None


def load_weights(
    adapter: Adapter, model: nn.Module, paths: Sequence[Path], *, seed: int
) -> LoadedWeights:
    """Give `model` (adapter.build()) the weights of the files, or random ones where there are none.

    Raises UsageError for files that do not fit, CannotRunError where the installed library builds another
    architecture than the published one.
    """
    _check_size(adapter, published_tensors(model, dict(adapter.tied) or aliases_of(model)))
    # Where the published tensors are known, a file that lacks one of them is another file.
    complete = adapter.info.tensors is not None
    if paths:
        return load_files(model, paths, adapter.tied, seed=seed, complete=complete)
    return initialise(adapter, model, seed=seed)


def initialise(adapter: Adapter, model: nn.Module, *, seed: int) -> LoadedWeights:
    """Give the model random weights; the tied aliases are the declared ones, else found."""
    aliases = dict(adapter.tied) or aliases_of(model)
    like = published_tensors(model, aliases)
    check_room(sum(tensor.nbytes for tensor in like.values()), "random weights")
    # An index table, position codes: what the library works out itself is no weight.
    tensors = random_state_dict(like, seed) | {name: like[name] for name in worked_out(model, like)}
    if any(name.endswith(VARIANCE) for name in tensors):
        tensors |= fit_statistics(adapter, tensors, aliases)
    assign(model, tensors, aliases)
    return _loaded(tensors, aliases, fingerprint(tensors), None)


def load_files(
    model: nn.Module,
    paths: Sequence[Path],
    tied: Mapping[str, str],
    *,
    seed: int,
    complete: bool = False,
) -> LoadedWeights:
    """Give the model the tensors of safetensors files, every one of both accounted for.

    Heads that the files do not carry are random, by the seed, unless the files are to be `complete`.
    Raises UsageError for files that do not fit.
    """
    check_room(sum(path.stat().st_size for path in paths), paths[0].name)
    checkpoint = read_checkpoint(paths)
    found = fit(model, checkpoint.tensors, tied, file=paths[0].name, complete=complete)
    aliases = dict(found.account.tied)
    like = published_tensors(model, aliases)
    heads = random_state_dict({name: like[name] for name in found.account.initialised}, seed)
    tensors = {name: heads[name] if name in heads else found.tensors[name] for name in like}
    places = {name: (checkpoint.files[old], old) for name, old in found.names.items()}
    identity = fingerprint_of_files(tensors, places)
    assign(model, tensors, aliases)
    return _loaded(tensors, aliases, identity, found.account)


def _loaded(
    tensors: Mapping[str, Tensor], tied: Mapping[str, str], identity: str, account: Account | None
) -> LoadedWeights:
    return LoadedWeights(
        fingerprint=identity,
        parameters=_elements(tensors),
        tensors=len(tensors),
        tied=tied,
        account=account,
    )


def _elements(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _check_size(adapter: Adapter, like: Mapping[str, Tensor]) -> None:
    """Raise CannotRunError where the library builds something else than was published."""
    info, parameters = adapter.info, _elements(like)
    if (info.tensors, info.parameters) not in ((len(like), parameters), (None, None)):
        raise CannotRunError(
            Reason(
                "other_build",
                library=info.library,
                architecture=info.architecture,
                parameters=parameters,
                tensors=len(like),
                declared=str(info.parameters),
                of=str(info.tensors),
            ),
            Reason("correct_declaration"),
        )
