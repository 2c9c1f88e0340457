"""What a rendered report states, held against the summary.json that it was rendered from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kit.lint.fields import BY_NAME, Kind
from kit.lint.reader import Report, Statement

# What a report must state, where the summary has it; the figures of one output stand below it.
KEY_FIELDS = (
    "model device pretrained_used output_shape max_abs_diff mean_abs_diff cosine_similarity "
    "match_within_1_percent latency_ms verdict"
).split()
OF_AN_OUTPUT = (
    "max_abs_diff",
    "mean_abs_diff",
    "cosine_similarity",
    "relative_l2",
    "max_over_range",
)
NAMES = ("device_name", "cann_version", "output_shape", "verdict")


def differences(report: Report, summary: Mapping[str, Any]) -> list[str]:
    """Every figure, answer and name that the report states otherwise, every key field it leaves out."""
    stated = {claim.field for claim in report.claims if claim.value}
    if "npu_latency_ms" in stated:
        stated.add("latency_ms")
    left_out = [name for name in KEY_FIELDS if summary[name] is not None and name not in stated]
    wrong = [
        f"{claim.line.number}: {claim.line.text}"
        for claim in report.claims
        if not claim.bound and not agrees(claim, *measured(claim, summary))
    ]
    return [*left_out, *wrong]


def measured(claim: Statement, summary: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the summary has what is claimed, and what it says."""
    outputs = {name.casefold(): output for name, output in (summary["outputs"] or {}).items()}
    scope = claim.scope - {"模拟", "simulated"}  # what every heading of such a report says
    if scope:
        name = min(scope)
        if len(scope) > 1 or name not in outputs or claim.field not in OF_AN_OUTPUT:
            return False, None
        return True, (outputs[name]["metrics"] or {}).get(claim.field)
    latency = summary["latency"] or {}
    for place in (summary, latency, summary["environment"]["packages"]):
        if claim.field in place:
            return True, place[claim.field]
    return False, None


def agrees(claim: Statement, known: bool, value: Any) -> bool:
    """Whether a claim, with the digits it has, is the summary's value."""
    kind = BY_NAME[claim.field].kind
    if known and kind is Kind.NUMBER and claim.figure is not None:
        unit = claim.figure.unit * Decimal("0.5000001")
        return value is not None and abs(claim.figure.value - Decimal(value)) <= unit
    if known and kind is Kind.FLAG and claim.flag is not None:
        return claim.flag is value
    named = claim.field in NAMES or re.match(r"(?:npu|cuda):|cpu", claim.value)
    if known and named and value is not None and claim.value.isascii():
        return str(value).casefold() in claim.value.casefold()
    return True
