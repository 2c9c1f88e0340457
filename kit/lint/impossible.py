"""Figures that cannot be, by themselves or beside each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from kit.lint.finding import Finding, error, quoted
from kit.lint.reader import Report, Statement
from kit.lint.stated import headline, is_feature_vector, lines_of

_ERRORS = (
    "max_abs_diff",
    "mean_abs_diff",
    "rmse",
    "relative_l2",
    "max_over_range",
    "mean_relative",
)
_TIMES = (
    "latency_ms",
    "npu_latency_ms",
    "cpu_latency_ms",
    "cold_ms",
    "min_ms",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "max_ms",
)
# Each is at most the next, in one run.
_ASCENDING = (
    ("mean_abs_diff", "rmse", "max_abs_diff"),
    ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"),
)
_TOP_K = re.compile(r"top-?[15]", re.IGNORECASE)
_CLASSIFIES = re.compile(r"分类|classif", re.IGNORECASE)


def out_of_range(report: Report) -> Iterator[Finding]:
    """A negative error or time, a cosine beyond 1."""
    for claim in report.figures(*_ERRORS, *_TIMES, "cosine_similarity"):
        value, unit = _value(claim), claim.figure.unit if claim.figure else Decimal(0)
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
    for group in _together(report.figures(*_ERRORS, *_TIMES)):
        for names in _ASCENDING:
            present = [claim for name in names for claim in group if claim.field == name]
            for position, low in enumerate(present):
                above = [high for high in present[position + 1 :] if high.field != low.field]
                high = max(above, key=_value, default=None)
                if high and _value(low) > _value(high) and not _alike(low, high):
                    message = (
                        f"{low.field} {quoted(low.value)} is above {high.field} {quoted(high.value)}: "
                        "no data give that; compute both again from the saved outputs"
                    )
                    yield error("wrong-order", [low.line.number, high.line.number], message)
                    break


def _alike(a: Statement, b: Statement) -> bool:
    return a.figure is not None and b.figure is not None and a.figure.same(b.figure)


def _together(claims: Iterable[Statement]) -> list[list[Statement]]:
    """Claims of one section (one row, where they stand in labelled rows), at most a few of each field."""
    groups: dict[object, list[Statement]] = {}
    for claim in claims:
        place = claim.line.number if claim.label else claim.line.points
        group = groups.setdefault((claim.line.headings, claim.scope, place), [])
        if sum(each.field == claim.field for each in group) < 3:
            group.append(claim)
    return list(groups.values())


def _value(claim: Statement) -> Decimal:
    return claim.figure.value if claim.figure else Decimal(0)


def mean_too_small(report: Report) -> Iterator[Finding]:
    """A maximum that the mean over that many elements cannot hold: max <= mean * elements."""
    shapes = {claim.shape for claim in headline(report.of("output_shape")) if claim.shape}
    if len(shapes) != 1:
        return
    elements = math.prod(next(iter(shapes)))
    for group in _together(headline(report.figures("max_abs_diff", "mean_abs_diff"))):
        largest = [claim for claim in group if claim.field == "max_abs_diff"]
        means = [claim for claim in group if claim.field == "mean_abs_diff" and claim.figure]
        if not largest or not means or not means[0].figure or not largest[0].figure:
            continue
        mean, most = means[0].figure, largest[0].figure
        if most.value - most.unit > (mean.value + mean.unit) * elements:
            message = (
                f"max_abs_diff {quoted(largest[0].value)} in {elements} elements: the mean is at least "
                f"{most.value / elements:.3g}, not {quoted(means[0].value)}; compute both from one output"
            )
            yield error("mean-too-small", lines_of([largest[0], means[0]]), message)


def relative_below_cosine(report: Report) -> Iterator[Finding]:
    """A relative L2 that the cosine rules out: relative L2 >= sqrt(1 - cosine^2)."""
    for group in _together(report.figures("cosine_similarity", "relative_l2")):
        cosines = [claim for claim in group if claim.field == "cosine_similarity"]
        relatives = [claim for claim in group if claim.field == "relative_l2"]
        if not cosines or not relatives:
            continue
        cosine, relative = cosines[0].figure, relatives[0].figure
        if cosine is None or relative is None or cosine.value + cosine.unit >= 1:
            continue
        least = least_relative(cosine.value + cosine.unit)
        if float(relative.value + relative.unit) < least:
            message = (
                f"cosine {quoted(cosines[0].value)} means a relative L2 of at least {least:.3g}, not "
                f"{quoted(relatives[0].value)}; compute both from one pair of outputs"
            )
            yield error("relative-below-cosine", lines_of([cosines[0], relatives[0]]), message)


def least_relative(cosine: Decimal) -> float:
    """The least relative L2 that a cosine leaves room for: sqrt(1 - cosine^2)."""
    return math.sqrt(max(0.0, float(1 - cosine * cosine)))


def top_k_of_features(report: Report) -> Iterator[Finding]:
    """Top-1 or top-5 of an output that has no classes: the largest feature means nothing."""
    features = is_feature_vector(report)
    claims = lines_of(
        [claim for claim in report.of("top1_match", "top5_match") if claim.flag is not None]
    )
    named = [each.line.number for each in report.sentences if _TOP_K.search(each.text)]
    if features and (claims or named):
        message = (
            f"top-1/top-5 over the feature vector of line {features[0]}: its largest elements are no "
            "classes; take them over the classifier's logits, or leave them out"
        )
        yield error("top-k-of-features", claims + named, message)


def head_not_run(report: Report) -> Iterator[Finding]:
    """The task is classification, but only features were computed."""
    features = is_feature_vector(report)
    tasks = lines_of([claim for claim in report.of("task") if _CLASSIFIES.search(claim.value)])
    if features and tasks:
        message = "the task is classification, but the output is features; run and compare the head"
        yield error("head-not-run", features + tasks, message)
