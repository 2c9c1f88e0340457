"""The reference: the same weights and the same input on the CPU, in fp32 twice, and as the golden."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.accuracy.comparison import Reference
from kit.accuracy.repeats import compare_runs
from kit.errors import CannotRunError, UntrustedError
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
from kit.run.compare_options import Choice
from kit.run.heads import outputs_of_heads
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.weights.load import LoadedWeights

log = logging.getLogger("kit")


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


def run_references(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor], golden: Choice
) -> Reference:
    """Everything the adapter declares, from a model on the CPU (which is left in fp64 by the golden).

    `golden` auto leaves the golden out where memory would not hold it or the model has no fp64 form,
    and says so. Raises UntrustedError where the inputs, which came from a record, are nothing the model
    takes; CannotRunError for a golden that is `on` and cannot be.
    """
    first, _ = _run(adapter, model, inputs)
    second, seconds = _run(adapter, model, inputs)
    repeats = compare_runs(first, second)
    exact, reason = _golden(adapter, model, inputs, golden)
    if reason:
        log.info(f"no golden: {reason}")
    return Reference(
        outputs=first,
        repeats=repeats,
        golden=exact,
        golden_reason=reason,
        forward_seconds=seconds,
    )


def _golden(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor], golden: Choice
) -> tuple[dict[str, Tensor], Reason | None]:
    from kit.arithmetic.fp64 import golden_skipped, run_golden

    if golden == "off":
        return {}, Reason("golden_off")
    if golden == "auto" and (reason := golden_skipped(model, inputs)):
        return {}, reason
    try:
        return run_golden(adapter, model, inputs), None
    except CannotRunError as error:
        if golden == "on":
            raise
        return {}, error.message


def _run(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], float]:
    """Every output, and the seconds of the one forward among what gives them."""
    import torch

    model.float()
    try:
        with torch.inference_mode():
            began = time.monotonic()
            outputs = adapter.forward(model, inputs)
            seconds = time.monotonic() - began
            return {**outputs, **adapter.further_outputs(model, inputs)}, seconds
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UntrustedError(
            Reason("reference_fails", kind=type(error).__name__, said=str(error)),
            Reason("run_again"),
        ) from error
