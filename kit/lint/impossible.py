"""Figures that cannot be, by themselves or beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import combinations

from kit.lint.finding import Finding, error, quoted
from kit.lint.reader import Report, Statement
from kit.lint.stated import feature_vectors, lines_of
from kit.lint.words import says

_ERRORS = (
    "mean_abs_diff",
    "rmse",
    "max_abs_diff",
    "relative_l2",
    "max_over_range",
    "mean_relative",
)
_TIMES = ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms")
_OTHER_TIMES = ("latency_ms", "npu_latency_ms", "cpu_latency_ms", "cold_ms")


def out_of_range(report: Report) -> Iterator[Finding]:
    """A negative error or time, a cosine beyond 1."""
    for claim in report.figures(*_ERRORS, *_TIMES, *_OTHER_TIMES, "cosine_similarity"):
        value, unit = claim.number.value, claim.number.unit
        if claim.field == "cosine_similarity":
            # One unit above 1 in the last of many digits is rounding.
            wrong = abs(value) > 1 + min(unit, Decimal("1e-6"))
        else:
            wrong = value < 0
        if wrong:
            message = f"{claim.field} cannot be {quoted(claim.value)}; compute it again, in fp64"
            yield error("out-of-range", [claim.line.number], message)


def wrong_order(report: Report) -> Iterator[Finding]:
    """A mean above the maximum, a median above the 90th percentile."""
    for ascending in (_ERRORS[:3], _TIMES):
        for first in _together(report.figures(*ascending)):
            for low, high in combinations([first[name] for name in ascending if name in first], 2):
                if low.number.value > high.number.value and not low.number.same(high.number):
                    message = (
                        f"{low.field} {quoted(low.value)} is above {high.field} {quoted(high.value)}: "
                        "no data give that; compute both again from the saved outputs"
                    )
                    yield error("wrong-order", lines_of([low, high]), message)


def _together(claims: Iterable[Statement]) -> list[dict[str, Statement]]:
    """The first claim of each field in one section, or in one row where rows have labels."""
    groups: dict[object, dict[str, Statement]] = {}
    for claim in claims:
        place = claim.line.number if claim.label else claim.line.points
        group = groups.setdefault((claim.line.headings, claim.scope, place), {})
        group.setdefault(claim.field, claim)
    return list(groups.values())


def of_features(report: Report) -> Iterator[Finding]:
    """What a feature vector has not: classes to rank, an answer to a task of classification."""
    features = feature_vectors(report)
    if not features:
        return
    answers = [claim for claim in report.of("top1_match", "top5_match") if claim.flag is not None]
    if ranked := lines_of([*answers, *report.saying("top_k")]):
        message = (
            f"top-1/top-5 over the feature vector of line {features[0]}: its largest elements are no "
            "classes; take them over the classifier's logits, or leave them out"
        )
        yield error("top-k-of-features", ranked, message)
    tasks = [claim for claim in report.of("task") if says("classification", claim.value)]
    if tasks:
        message = "the task is classification, but the output is features; run and compare the head"
        yield error("head-not-run", features + lines_of(tasks), message)
