"""charts.json: what a page draws of a comparison, bound to its outputs by their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import kit
from kit.accuracy.distribution import distribution
from kit.accuracy.ranking import top5_of_both
from kit.evidence.handover import local_path
from kit.evidence.logs import CHARTS, Logs
from kit.evidence.schema import SCHEMA_VERSION, checked
from kit.evidence.summary import ranked_output
from kit.evidence.types.charts import BothTop5, Charts, OutputChart, RankedClass
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
) -> None:
    """Write charts.json into `new`: of every output that the summary has figures of."""
    measured = [name for name, output in (summary.outputs or {}).items() if output.metrics]
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
                **asdict(distribution(reference[name], device[name])),
            )
            for name in measured
        },
        top5=_top5(logs, adapter, ranked, reference, device)
        if ranked and ranked in measured
        else None,
    )
    new.write_json(CHARTS, checked(charts))


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
    at_hand = companions(adapter.info, weights.parent if weights else None)
    try:
        found = [adapter.describe(side, at_hand).get("top5", []) for side in sides]
    except (IndexError, KeyError, RuntimeError):
        return {}  # outputs that came from a record may lack what the adapter describes
    return {each["index"]: each["label"] for top5 in found for each in top5 if each["label"]}
