"""What localisation found, as the evidence has it: rows of layers.csv, and the first bad module."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from kit.evidence.layers import LayerRow
from kit.evidence.logs import WRONG_OPERATOR
from kit.evidence.types import explanation as told
from kit.evidence.types.explanation import Explanation, LayersFile
from kit.explain.localise import Layer
from kit.explain.locate import Localised
from kit.explain.wrong_operator import SCRIPT, OperatorCall
from kit.words import Reason


def rows_of(layers: Sequence[Layer]) -> list[LayerRow]:
    """Every call, in the order in which they ended."""
    return [_row(order, layer) for order, layer in enumerate(layers)]


def _row(order: int, layer: Layer) -> LayerRow:
    row = LayerRow(
        order=order,
        module=layer.name,
        call=layer.number,
        kind=layer.kind,
        output_shapes=" ".join("x".join(map(str, shape)) for shape in layer.shapes),
        accumulated_relative_l2=layer.accumulated,
        not_checked=layer.skipped,
    )
    if (error := layer.error) is None:
        return row
    return replace(
        row,
        own_relative_l2=error.own.whole,
        predicted_relative_l2=error.predicted.whole,
        explained_up_to=error.allowed.whole,
        own_worst_row=error.own.worst_row,
        predicted_worst_row=error.predicted.worst_row,
        over_band=error.over_band,
        unexplained=error.unexplained,
    )


def with_located(
    explained: Explanation,
    found: Localised,
    layers: LayersFile,
    cure: told.CheapestCure | Reason,
) -> Explanation:
    """What explains the difference, with the first bad module and the cheapest cure, or why there is none
    of it."""
    if found.recorded:
        layers = msgspec.structs.replace(layers, recorded=True)
    bad, reason = _bad_module(found), None
    if bad is None:
        reason = Reason("all_explained", checked=layers.checked, not_checked=layers.not_checked)
    return msgspec.structs.replace(
        explained,
        unexplained=explained.unexplained or bad is not None,
        first_bad_module=bad,
        first_bad_module_reason=reason,
        layers=layers,
        cheapest_cure=None if isinstance(cure, Reason) else cure,
        cheapest_cure_reason=cure if isinstance(cure, Reason) else None,
    )


def not_located(explained: Explanation, why: Reason) -> Explanation:
    """What explains the difference, where looking for a bad module broke off."""
    return msgspec.structs.replace(explained, first_bad_module_reason=why, cheapest_cure_reason=why)


def _bad_module(found: Localised) -> told.BadModule | None:
    bad = found.bad
    if bad is None or bad.error is None:
        return None
    return told.BadModule(
        name=bad.name,
        kind=bad.kind,
        call=bad.number,
        own_relative_l2=_finite(bad.error.own.whole),
        predicted_relative_l2=_finite(bad.error.predicted.whole),
        explained_up_to=_finite(bad.error.allowed.whole),
        over_band=_finite(bad.error.over_band),
        operators=_operators(found.operators),
        wrong_operator=_wrong_operator(found),
        reproduction=f"{WRONG_OPERATOR}/{SCRIPT}" if found.alone else None,
        reproduction_reason=_why_not_shown(found),
    )


def _why_not_shown(found: Localised) -> Reason | None:
    """Why no file shows the wrong operator."""
    if found.alone:
        return None
    if found.recorded:
        return Reason("needs_the_device")
    return Reason("right_alone" if found.wrong else "no_single_operator")


def _operators(calls: Sequence[OperatorCall]) -> list[told.ModuleOperator]:
    counted = Counter(
        (call.name, tuple(tuple(shape) for shape in call.shapes)) for call in calls if call.shapes
    )
    return [
        told.ModuleOperator(name=name, shapes=[list(shape) for shape in shapes], calls=count)
        for (name, shapes), count in counted.items()
    ]


def _wrong_operator(found: Localised) -> told.WrongOperator | None:
    if (wrong := found.wrong) is None:
        return None
    return told.WrongOperator(
        name=wrong.call.name,
        shapes=wrong.call.shapes,
        own_relative_l2=_finite(wrong.error.own.whole),
        explained_up_to=_finite(wrong.error.allowed.whole),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
