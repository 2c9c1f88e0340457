"""The YAML front matter of a report, as model cards have it: only what is true of this run."""

from __future__ import annotations

from typing import Any

from kit.errors import visible
from kit.evidence.types.summary import Summary
from kit.report.facts import Told

_NPU_TAGS = ("NPU", "Ascend", "ascend-npu")
# summary field: what it is the figure of
_FIGURES = {
    "max_abs_diff": "largest |NPU - CPU fp32|",
    "mean_abs_diff": "mean |NPU - CPU fp32|",
    "cosine_similarity": "cosine similarity, NPU and CPU fp32",
    "npu_latency_ms": "mean latency on the NPU, ms",
}


def front_matter(told: Told) -> str:
    """YAML without its fences; empty where the record cannot be read.

    The NPU's tags and `hardware` need a run on a real NPU that was judged, whatever the verdict; the
    results need published weights too.
    """
    if not told.run:
        return ""
    # The class alone: the rest of huggingface_hub stays unimported.
    from huggingface_hub.repocard_data import ModelCardData

    model = told.run.model
    # PyYAML loses some of what is no printable text.
    fields: dict[str, Any] = {
        "license": _text(model.license),
        "library_name": _text(model.library),
        "pipeline_tag": _text(model.pipeline_tag),
        "base_model": _text(model.hub_id),
    }
    if told.claim.on_npu:
        fields |= {"tags": list(_NPU_TAGS), "hardware": "NPU"}
        if told.claim.weights == "verified" and model.pipeline_tag:
            results = _results(told.summary, visible(model.pipeline_tag))
            fields |= {"model_name": visible(model.name), "eval_results": results}
    fields = {name: value for name, value in fields.items() if value is not None}
    text: str = ModelCardData(**fields).to_yaml()
    return text


def _text(value: str | None) -> str | None:
    return None if value is None else visible(value)


def _results(summary: Summary, task: str) -> list[Any]:
    from huggingface_hub.repocard_data import EvalResult

    return [
        EvalResult(
            task_type=task,
            dataset_type="one-input",
            dataset_name=visible(summary.input or ""),
            metric_type=name,
            metric_name=f"{what} (output {summary.primary_output}, verdict {summary.verdict})",
            metric_value=getattr(summary, name),
        )
        for name, what in _FIGURES.items()
        if getattr(summary, name) is not None
    ]
