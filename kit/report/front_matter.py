"""The YAML front matter of a report, as model cards have it: only what is true of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.errors import visible
from kit.evidence.reading import Evidence
from kit.report.claims import Claim

_NPU_TAGS = ("NPU", "Ascend", "ascend-npu")
# summary field: what it is the figure of
_FIGURES = {
    "max_abs_diff": "largest |NPU - CPU fp32|",
    "mean_abs_diff": "mean |NPU - CPU fp32|",
    "cosine_similarity": "cosine similarity, NPU and CPU fp32",
    "npu_latency_ms": "mean latency on the NPU, ms",
}


def front_matter(evidence: Evidence, claim: Claim) -> str:
    """YAML without its fences; empty where the record cannot be read.

    The NPU's tags and `hardware` need a run on a real NPU that was judged, whatever the verdict; the
    results need published weights too.
    """
    if not evidence.record:
        return ""
    # The class alone: the rest of huggingface_hub stays unimported.
    from huggingface_hub.repocard_data import ModelCardData

    declared = evidence.record["model"]
    # PyYAML loses some of what is no printable text.
    model = {name: visible(text) for name, text in declared.items() if isinstance(text, str)}
    fields: dict[str, Any] = {
        "license": model.get("license"),
        "library_name": model["library"],
        "pipeline_tag": model.get("pipeline_tag"),
        "base_model": model.get("hub_id"),
    }
    if claim.on_npu:
        fields |= {"tags": list(_NPU_TAGS), "hardware": "NPU"}
        if claim.weights == "verified":
            fields |= {"model_name": model["name"], "eval_results": _results(evidence)}
    fields = {name: value for name, value in fields.items() if value is not None}
    text: str = ModelCardData(**fields).to_yaml()
    return text


def _results(evidence: Evidence) -> list[Any]:
    from huggingface_hub.repocard_data import EvalResult

    summary: Mapping[str, Any] = evidence.summary
    return [
        EvalResult(
            task_type=visible(evidence.record["model"]["pipeline_tag"]),
            dataset_type="one-input",
            dataset_name=visible(summary["input"]),
            metric_type=name,
            metric_name=f"{what} (output {summary['primary_output']}, verdict {summary['verdict']})",
            metric_value=summary[name],
        )
        for name, what in _FIGURES.items()
        if summary[name] is not None
    ]
