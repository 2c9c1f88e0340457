"""A report held against summary.json: what it states must be what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.lint.fields import BY_NAME, Field, Kind
from kit.lint.finding import Finding, error, quoted
from kit.lint.reader import Report, Statement
from kit.lint.stated import npu_results, passes, real_weights, within_one_percent

# What a report must state, where the summary has it.
KEY_FIELDS = (
    "model",
    "device",
    "pretrained_used",
    "output_shape",
    "max_abs_diff",
    "mean_abs_diff",
    "cosine_similarity",
    "match_within_1_percent",
    "latency_ms",
    "verdict",
)
# Texts that are names, not prose: the report must have them as they are.
_NAMES = (
    "device", "device_name", "reference_device", "cann_version", "python", "torch", "torch_npu", "timm",
    "transformers", "dtype", "revision", "weight_path", "status", "primary_output",
)  # fmt: skip
# What a report calls the device, beside its name in torch.
_KINDS = {"npu": ("npu", "ascend", "昇腾"), "cuda": ("cuda", "gpu"), "cpu": ("cpu",)}
_METRICS = (
    "max_abs_diff",
    "mean_abs_diff",
    "cosine_similarity",
    "relative_l2",
    "max_over_range",
    "rmse",
)


def differences(report: Report, summary: Mapping[str, Any]) -> list[Finding]:
    """Every field that the report states otherwise, every key field it leaves out, every claim too much."""
    return [
        *_differing(report, summary),
        *_left_out(report, summary),
        *_overclaimed(report, summary),
    ]


def _differing(report: Report, summary: Mapping[str, Any]) -> Iterator[Finding]:
    for claim in report.claims:
        place = _place(claim, summary)
        if claim.op != "=" or place is None:
            continue
        measured = _at(summary, place)
        if not _agrees(BY_NAME[claim.field], claim, measured):
            reason = summary["null_reasons"].get(claim.field) if measured is None else None
            said = f"null ({reason})" if reason else repr(measured)
            message = (
                f"{claim.field} is {quoted(claim.value)} here and {quoted(said)} in summary.json"
            )
            yield error("summary-differs", [claim.line.number], f"{message}; take that")


def _place(claim: Statement, summary: Mapping[str, Any]) -> str | None:
    """Where the summary has what is claimed; None where it has not, or the claim is of something else."""
    field = BY_NAME.get(claim.field)
    if field is None or not field.place:
        return None
    primary = str(summary["primary_output"])
    if not claim.scope:
        return field.place.replace("{primary}", primary)
    outputs = [name for name in summary["outputs"] or {} if claim.scope == {name.casefold()}]
    return (
        f"outputs.{outputs[0]}.metrics.{field.name}" if outputs and field.name in _METRICS else None
    )


def _agrees(field: Field, claim: Statement, measured: Any) -> bool:
    """Whether a claim is what was measured; a text that is no name is not held against anything."""
    if field.kind is Kind.NUMBER:
        return claim.figure is None or (
            measured is not None and claim.figure.shows(float(measured))
        )
    if field.kind is Kind.FLAG:
        return claim.flag is None or claim.flag == measured
    if field.kind is Kind.SHAPE:
        return claim.shape is None or list(claim.shape) == measured
    if field.name not in _NAMES or not re.match(r"[\w\[]", claim.value, re.ASCII):
        return True
    said = claim.value.casefold()
    if measured is None:
        return not re.match(r"v?\d|npu|cuda|hf-cache|file:", said)
    if field.name == "device" and not re.match(r"(?:npu|cuda):|cpu", said):  # "Ascend NPU"
        return any(word in said for word in _KINDS[str(measured).partition(":")[0]])
    return str(measured).casefold() in said


def _left_out(report: Report, summary: Mapping[str, Any]) -> Iterator[Finding]:
    stated = {claim.field for claim in report.claims if claim.value}
    if "npu_latency_ms" in stated:
        stated.add("latency_ms")
    for name in KEY_FIELDS:
        if summary[name] is not None and name not in stated:
            message = f"{name} is not stated; summary.json has {quoted(str(summary[name]))}"
            yield error("summary-missing", [1], message)


def _overclaimed(report: Report, summary: Mapping[str, Any]) -> Iterator[Finding]:
    """Verdicts and claims that the summary does not bear out."""
    good = summary["verdict"] == "PASS"
    for claim in report.of("verdict"):
        says = re.search(r"\b(PASS|FAIL|SELF_CHECK|INVALID|NOT_COMPARED)\b", claim.value)
        wrong = says is not None and says[1] != summary["verdict"]
        if wrong or (claim in passes(report) and not good):
            message = f"the verdict is {quoted(claim.value)} here and {summary['verdict']} in summary.json"
            yield error("summary-verdict", [claim.line.number], f"{message}; take that")
    real_npu = str(summary["device"]).startswith("npu") and summary["simulated"] is False
    for lines, borne_out, what in (
        (real_weights(report), summary["pretrained_used"] is True, "real weights"),
        (npu_results(report), real_npu, "a result of an NPU"),
        (
            within_one_percent(report),
            summary["match_within_1_percent"] is True,
            "an error within 1%",
        ),
    ):
        if lines and not borne_out:
            yield error(
                "summary-claim", lines, f"{what}: summary.json does not say so; drop the claim"
            )


def _at(document: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document
