"""The model of a run again, on the CPU: the same weights, the same input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.evidence.handover import (
    check_heads,
    check_input,
    check_weights,
    find_weights_again,
    read_tensors,
)
from kit.evidence.logs import INPUTS, Logs
from kit.evidence.types.run import FinishedRun
from kit.models.adapter import Adapter
from kit.run.heads import outputs_of_heads

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.weights.load import LoadedWeights


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """`model` has the run's weights as they were loaded, `inputs` are what it was fed; `paths` are the
    weights' files, none where they are random."""

    model: nn.Module
    loaded: LoadedWeights
    inputs: dict[str, Tensor]
    paths: list[Path]


def load_run(logs: Logs, adapter: Adapter, run: FinishedRun, weights: Path | None) -> LoadedRun:
    """Build the model of the run in `logs` and give it the run's weights; `weights` is the user's word on
    where they are. Raises KitError where weights or input are not the run's."""
    from kit.weights.load import load_weights

    inputs = read_tensors(logs, INPUTS, run.input.tensors)
    check_input(inputs, run.input)
    paths = find_weights_again(logs, adapter, run.weights, weights)
    model = adapter.build()
    seed = run.arguments.seed if run.weights.seed is None else run.weights.seed
    loaded = load_weights(adapter, model, paths, seed=seed)
    check_weights(loaded, run.weights)
    check_heads(outputs_of_heads(adapter, model, loaded.account, inputs, seed), run.weights)
    return LoadedRun(model=model, loaded=loaded, inputs=inputs, paths=paths)
