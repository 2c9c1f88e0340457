"""charts.json: what a page draws of a comparison, bound to its outputs by their hashes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import kit
from kit.accuracy.distribution import distribution
from kit.accuracy.ranking import top5_of_both
from kit.evidence.handover import local_path
from kit.evidence.logs import CHARTS, Logs
from kit.evidence.schema import SCHEMA_VERSION, checked
from kit.evidence.summary import ranked_output
from kit.evidence.types.charts import (
    BothTop5,
    Charts,
    ErrorStrip,
    OutputChart,
    OwnError,
    RankedClass,
)
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.models.adapter import Adapter
from kit.weights.sources import companions

if TYPE_CHECKING:
    from torch import Tensor


def write_charts(
    logs: Logs,
    new: Logs,
    adapter: Adapter,
    run: Run,
    summary: Summary,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    golden: Mapping[str, Tensor],
) -> None:
    """Write charts.json into `new`: of every output that the summary has figures of; `golden` is empty
    where there is none."""
    judged = {name: output for name, output in (summary.outputs or {}).items() if output.metrics}
    ranked = ranked_output(run.model)
    if summary.reference is None or run.outputs is None:
        return
    charts = Charts(
        schema_version=SCHEMA_VERSION,
        kit_version=kit.__version__,
        outputs={
            name: OutputChart(
                reference_sha256=summary.reference.outputs[name].sha256,
                device_sha256=run.outputs[name].sha256,
                **spread(reference[name], device[name], golden[name] if output.truth else None),
            )
            for name, output in judged.items()
        },
        top5=_top5(logs, adapter, ranked, reference, device)
        if ranked and ranked in judged
        else None,
    )
    new.write_json(CHARTS, checked(charts))


def spread(reference: Tensor, device: Tensor, golden: Tensor | None) -> dict[str, Any]:
    """The fields of an OutputChart that say how the differences are spread."""
    found = distribution(reference, device)
    strip = ErrorStrip(**vars(found.strip)) if found.strip else None
    if golden is None:
        return vars(found) | {"strip": strip, "own": None}
    # The golden as the reference: then the fp32 reference is what is off it.
    histogram = distribution(golden, reference)
    exact = golden.reshape(-1)[found.index].tolist()
    differences = [ours - theirs for ours, theirs in zip(found.reference, exact, strict=True)]
    own = OwnError(
        zeros=histogram.zeros,
        nonfinite=histogram.nonfinite,
        log10_edges=histogram.log10_edges,
        counts=histogram.counts,
        difference=[_short(each) for each in differences],
    )
    return vars(found) | {"strip": strip, "own": own}


def _short(value: float) -> float | None:
    """Six significant digits: more are not seen in a plot, and the file is half as long."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _top5(
    logs: Logs,
    adapter: Adapter,
    ranked: str,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
) -> BothTop5:
    labels = _labels(logs, adapter, reference, device)
    both = top5_of_both(reference[ranked], device[ranked], labels)
    return BothTop5(output=ranked, classes=[RankedClass(**each) for each in both])


def _labels(logs: Logs, adapter: Adapter, *sides: Mapping[str, Tensor]) -> dict[int, str]:
    """Names of the classes that are among the first five of either side, where they are known."""
    weights = local_path(logs, "weights")
    at_hand = companions(adapter.info, weights and weights.parent, local_path(logs, "model"))
    try:
        found = [adapter.describe(side, at_hand).get("top5", []) for side in sides]
    except (IndexError, KeyError, RuntimeError):
        return {}  # outputs that came from a record may lack what the adapter describes
    return {each["index"]: each["label"] for top5 in found for each in top5 if each["label"]}
