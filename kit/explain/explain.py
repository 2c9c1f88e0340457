"""What explains the device's error: the CPU under emulated behaviours beside the device, on one input."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.errors import KitError, named
from kit.evidence.types.explanation import (
    ExplainedOutput,
    Explanation,
    FoundBehaviour,
    attributed,
)
from kit.evidence.types.run import FinishedRun
from kit.explain.expected import Expected, expected_of
from kit.models.adapter import Adapter
from kit.run.compare_options import Choice
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.accuracy.comparison import Reference
    from kit.explain.attribution import Attribution, Names, Outputs, Sides
    from kit.run.reference import LoadedRun

# Of the time that the comparison has taken so far, explaining may take this share on top.
_SHARE = 0.25
_ROUNDING = (
    2  # an emulated forward takes so many times a plain one at most, where its products are small
)
_SUSPECT = 3  # an error above so many times the predicted one ...
_SUSPECT_OWN = 5  # ... or, if that is larger, of so many times the CPU fp32's own


def explain(
    adapter: Adapter,
    again: LoadedRun,
    run: FinishedRun,
    reference: Reference,
    on_device: Mapping[str, Tensor],
    choice: Choice,
    *,
    spent: float,
) -> Explanation | Reason:
    """Which behaviours the error of the run's device holds, or why that was left out.

    The model is left in fp32. `spent` seconds have gone into the reference so far: auto takes
    a quarter of that at most, and tries fewer behaviours where more would take longer.
    """
    if choice == "off":
        return Reason("explain_off")
    if run.arguments.dtype != "float32":
        return Reason("explain_dtype", dtype=run.arguments.dtype)
    if not reference.golden:
        return Reason("explain_no_golden", why=reference.golden_reason or "")
    sides = _sides(run, reference, on_device)
    if isinstance(sides, Reason):
        return sides
    from kit.explain.attribution import Attribution

    expected = expected_of(run)
    emulation = _Emulation(adapter, again.model, again.inputs)
    emulation.takes = _ROUNDING * (reference.forward_seconds or 0.0)
    if choice == "auto":
        emulation.may_take = _SHARE * spent
    if expected.recorded and not emulation.may_run():
        seconds, most = (f"{each:.1f}" for each in (emulation.takes, emulation.may_take))
        return Reason("explain_too_long", seconds=seconds, most=most)
    attribution = Attribution(sides, emulation, expected.recorded, may_run=emulation.may_run)
    try:
        found = attribution.search([*expected.active], expected.others)
    except (KitError, RuntimeError, TypeError, ValueError) as error:
        return Reason("explain_failed", error=named(error))
    return attributed(_outputs(attribution, found), _behaviours(attribution, found, expected))


class _Emulation:
    """One emulated forward after another, and how long they took."""

    def __init__(self, adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        from kit.arithmetic.emulation import Emulator

        self._adapter, self._model, self._inputs = adapter, model.float(), inputs
        self._emulator = Emulator(model)
        self.takes, self.took, self.may_take = 0.0, 0.0, math.inf  # seconds

    def __call__(self, names: Names) -> tuple[Outputs, Counter[str]]:
        from kit.arithmetic.behaviours import BEHAVIOURS
        from kit.explain.attribution import in_order

        began = time.monotonic()
        behaviours = [BEHAVIOURS[name] for name in in_order(names)]
        with self._emulator.running(behaviours, watched=BEHAVIOURS.values()) as fired:
            outputs = self._adapter.forward(self._model, self._inputs)
        self.takes = time.monotonic() - began
        self.took += self.takes
        return outputs, fired

    def may_run(self) -> bool:
        """Whether there is time for one more."""
        return self.took + self.takes <= self.may_take


def _sides(
    run: FinishedRun, reference: Reference, on_device: Mapping[str, Tensor]
) -> Sides | Reason:
    """The floating outputs of the one forward, which all sides have."""
    from kit.explain.attribution import Sides

    golden = reference.golden
    names = [
        name
        for name in run.noise.timed_repeat
        if name in golden
        and golden[name].is_floating_point()
        and golden[name].shape == reference.outputs[name].shape == on_device[name].shape
    ]
    chosen = [
        {name: each[name] for name in names} for each in (golden, reference.outputs, on_device)
    ]
    if not names:
        return Reason("explain_nothing")
    if not all(bool(x.isfinite().all()) for side in chosen for x in side.values()):
        return Reason("explain_not_finite")
    return Sides(golden=chosen[0], fp32=chosen[1], device=chosen[2])


def _outputs(attribution: Attribution, found: Names) -> dict[str, ExplainedOutput]:
    from kit.explain.attribution import OWN_ERROR

    sides = attribution.sides
    observed, own = sides.errors(sides.device), sides.errors(sides.fp32)
    predicted = sides.errors(attribution.ran(attribution.recorded))
    left = sides.distances(attribution.ran(found), sides.device)
    return {
        name: ExplainedOutput(
            observed_relative_l2=observed[name],
            fp32_relative_l2=own[name],
            predicted_relative_l2=predicted[name],
            observed_over_predicted=observed[name] / predicted[name] if predicted[name] else None,
            explained_share=max(0.0, 1 - (left[name] / observed[name]) ** 2)
            if observed[name] > OWN_ERROR * own[name]
            else None,
            unexplained=observed[name] > _SUSPECT * max(predicted[name], _SUSPECT_OWN * own[name]),
        )
        for name in observed
    }


def _behaviours(attribution: Attribution, found: Names, expected: Expected) -> list[FoundBehaviour]:
    """Those that such a device may have, and whatever else was found."""
    names = [*expected.active, *(name for name in expected.others if name in found)]
    return [_behaviour(attribution, found, name, expected.active.get(name)) for name in names]


def _behaviour(
    attribution: Attribution, found: Names, name: str, active: bool | None
) -> FoundBehaviour:
    from kit.arithmetic.behaviours import BEHAVIOURS

    other = attribution.step(found, name)
    relative = None if other is None else attribution.contribution(found, other)
    why: Reason | None = None
    if other is None or relative is None:
        why = Reason("never_fires" if attribution.never_fires(name) else "not_tried")
    elif attribution.below_own_error(relative):
        why = Reason("below_fp32")
    elif not attribution.explains(found):
        why = Reason("mixed")
    elif not attribution.told_apart(found, other):
        why = Reason("hidden")
    is_found = None if why else name in found
    without = attribution.sides.errors(attribution.ran(other)) if is_found and other else None
    return FoundBehaviour(
        name=name,
        active=active,
        identifiable=why is None,
        why=why,
        found=is_found,
        relative_l2=relative,
        relative_l2_without=without,
        switch=BEHAVIOURS[name].switch,
    )
