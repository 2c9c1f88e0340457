"""Verdicts and claims that the report's own figures do not support."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal

from kit.lint.finding import Finding, error, quoted
from kit.lint.layout import Line
from kit.lint.reader import Report, Statement
from kit.lint.sentences import Sentence
from kit.lint.stated import (
    ONE_PERCENT,
    agreements,
    denials,
    elements_beyond,
    headline,
    lines_of,
    passes,
    relative_figures,
    within_one_percent,
)
from kit.lint.values import figure
from kit.lint.words import says

# sqrt(1 - c^2) <= 1% from here on.
_ENOUGH = Decimal("0.99995")
# What a criterion may name.
_FIGURES = ("cosine_similarity", "top1_match", "top5_match", "mean_abs_diff", "max_abs_diff")


def nothing_relative(report: Report) -> Iterator[Finding]:
    """A claim or criterion of 1% where no figure is a share of anything."""
    if relative_figures(report):
        return
    claimed = within_one_percent(report)
    held = report.figures("max_abs_diff", "mean_abs_diff")
    absolute = lines_of(claim for claim in held if claim.limit)
    absolute += [
        sentence.line.number
        for sentence in _criteria(report)
        if sentence.says("absolute_error") and not sentence.says("explanation")
    ]
    close = report.flagged(True, "torch_allclose_atol_5e-2_rtol_1e-2")
    if report.figures("cosine_similarity") or not (claimed or passes(report)):
        close = []
    for rule, lines, message in (
        ("within-without-basis", claimed, "within 1% of what? no relative figure is stated; give relative "
         "L2 (||diff||/||ref||) and max|diff|/max|ref|, each with its number"),
        ("absolute-threshold", absolute, "an absolute error is no 1%: how large it is depends on the "
         "outputs' own size; set it against the reference (max|diff|/max|ref|)"),
        ("loose-allclose", close, "allclose(atol=5e-2, rtol=1e-2) passes any error below 0.05, however "
         "small the outputs are; give a relative figure"),
    ):  # fmt: skip
        if lines:
            yield error(rule, lines, message)


def verdict_denied(report: Report) -> Iterator[Finding]:
    """The figures themselves are beyond 1%, where 1% or PASS is claimed."""
    claimed = within_one_percent(report)
    scopes = [frozenset(), *(claim.scope for claim in passes(report))]
    if not claimed and not report.saying("other_limit"):
        claimed = lines_of(passes(report))
    beyond = [
        (claim, said)
        for claim in report.figures("relative_l2", "max_over_range", "cosine_similarity")
        if claim.scope in scopes and (said := _beyond(claim))
    ]
    if claimed and beyond:
        lines = lines_of(claim for claim, _ in beyond) + claimed
        message = (
            f"{beyond[0][1]}: that is not within 1%; the verdict is FAIL, or name its own limit"
        )
        yield error("verdict-denied", lines, message)


def _beyond(claim: Statement) -> str:
    """What a figure says of an error beyond 1%; empty where it leaves room for less."""
    if claim.field != "cosine_similarity":
        past = claim.number.value > ONE_PERCENT
        return f"{claim.field} is {quoted(claim.value)}" if past else ""
    least = _least_relative(min(Decimal(1), claim.number.value + claim.number.unit))
    means = f"cosine {quoted(claim.value)} means a relative L2 of at least {least:.2%}"
    return means if least > ONE_PERCENT else ""


def _least_relative(cosine: Decimal) -> float:
    """The least relative L2 that a cosine leaves room for: sqrt(1 - cosine^2)."""
    return math.sqrt(max(0.0, float(1 - cosine * cosine)))


def agreement_denied(report: Report) -> Iterator[Finding]:
    """Agreement is claimed beside a share of elements beyond 1%, and no figure within 1% bears it out."""
    far = {number: share for number, share in elements_beyond(report) if share > ONE_PERCENT}
    claimed = [number for number in agreements(report) if number not in far]
    measured = headline(report.figures("relative_l2", "max_over_range"))
    borne_out = any(not _beyond(claim) for claim in measured)
    if far and claimed and not borne_out and not denials(report):
        message = (
            f"{max(far.values()):.1%} of the elements are off by more than 1%, yet line {min(claimed)} "
            "says that the outputs agree; say by which figure they do (relative L2), or that they do not"
        )
        yield error("agreement-denied", [*far, *claimed], message)


def cosine_threshold(report: Report) -> Iterator[Finding]:
    """A cosine threshold that is no 1%, where a verdict rests on it."""
    found: dict[str, list[int]] = {}
    better = relative_figures(report)
    basis = lines_of(report.of("match_basis"))
    for line, limit in _cosine_limits(report):
        if Decimal(limit) < _ENOUGH and (line.number in basis or not better):
            found.setdefault(limit, []).append(line.number)
    for limit, lines in found.items():
        message = (
            f"cosine > {limit} lets a relative L2 of {_least_relative(Decimal(limit)):.1%} through "
            "(sqrt(1 - cosine^2)); 1% needs at least 0.99995, and a figure of the size as well"
        )
        yield error("cosine-threshold", lines, message)


def _cosine_limits(report: Report) -> Iterator[tuple[Line, str]]:
    """Lines that hold a cosine against a limit from below, and the limit."""
    for claim in report.figures("cosine_similarity"):
        limit = figure(claim.limit)
        if claim.line.cells and limit and claim.limit[0] in ">≥":
            yield claim.line, f"{limit.value}"
    for sentence in report.sentences:
        found = says("cosine_above", _without_values(sentence.text))
        if found and not sentence.says("explanation"):
            yield sentence.line, found[1]


def _without_values(text: str) -> str:
    """`cosine=0.999997>0.99` as `cosine>0.99`."""
    return re.sub(r"[=:]\s?0?\.\d{1,40}(?=\s?[<>≥≤])", "", text)


def _criteria(report: Report) -> list[Sentence]:
    """Sentences that say what the verdict is judged by."""
    basis = lines_of(report.of("match_basis"))
    of_basis = [each for each in report.sentences if each.line.number in basis]
    return of_basis + [each for each in report.saying("criterion") if each not in of_basis]


def basis_not_stated(report: Report) -> Iterator[Finding]:
    """The criterion names figures that the report does not give."""
    stated = report.of(*_FIGURES)
    given = {each.field for each in stated if each.figure is not None or each.flag is not None}
    for sentence in _criteria(report):
        named = [name for name in _FIGURES if sentence.says(name)]
        missing = [name for name in named if name not in given]
        if missing:
            message = f"the verdict rests on {', '.join(missing)}, which the report does not give"
            yield error("basis-not-stated", [sentence.line.number], f"{message}; measure it")
