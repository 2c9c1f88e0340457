"""Verdicts and claims that the report's own figures do not support."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from kit.lint.finding import Finding, error, quoted
from kit.lint.impossible import least_relative
from kit.lint.reader import Report, Statement
from kit.lint.sentences import Sentence
from kit.lint.stated import (
    headline,
    lines_of,
    npu_results,
    passes,
    relative_figures,
    within_one_percent,
)

_ONE_PERCENT = Decimal("0.01")
# sqrt(1 - c^2) <= 1% from here on.
_ENOUGH = Decimal("0.99995")
_CRITERION = re.compile(
    r"判定|依据|criteri|basis|threshold|阈值|judged by|pass(?:es)? if", re.IGNORECASE
)
_EXPLAINS = re.compile(
    r"\b(?:lets?|allows?|is not|are not|no 1%|own rule)\b|不是|放过|允许", re.IGNORECASE
)
_COSINE_ABOVE = re.compile(
    r"(?:cos\w{0,3}(?:[ _]sim\w{0,8})?|余弦相似度)[^,。;<>]{0,24}"
    r"(?:[>≥]=?|above|over|大于|高于|不低于|at least)\s{0,2}(0\.\d{1,20})",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(
    r"(?:max|mean)[ _]abs\w{0,5}[ _]?(?:diff\w{0,7}|err\w{0,3})?|(?:最大|平均)绝对误差",
    re.IGNORECASE,
)
_NAMED = {
    "cosine_similarity": re.compile(r"cosine|余弦", re.IGNORECASE),
    "top1_match": re.compile(r"top-?1(?!\d)", re.IGNORECASE),
    "top5_match": re.compile(r"top-?5|top-?1/5", re.IGNORECASE),
    "mean_abs_diff": re.compile(r"mean[ _]abs|平均绝对误差", re.IGNORECASE),
    "max_abs_diff": re.compile(r"max[ _]abs|最大绝对误差", re.IGNORECASE),
}


_CHIP = re.compile(r"910[A-D]\d?|310P|Atlas|CANN|torch_npu", re.IGNORECASE)


def within_without_basis(report: Report) -> Iterator[Finding]:
    """Within 1% is claimed, but no figure is a share of anything."""
    claimed = within_one_percent(report)
    if claimed and not relative_figures(report):
        message = (
            "within 1% of what? no relative figure is stated; give relative L2 (||diff||/||ref||) and "
            "max|diff|/max|ref|, each with its number"
        )
        yield error("within-without-basis", claimed, message)


def verdict_denied(report: Report) -> Iterator[Finding]:
    """The figures themselves are beyond 1%, where 1% or PASS is claimed."""
    claimed = within_one_percent(report)
    own_limit = any(_OTHER_LIMIT.search(each.text) for each in report.sentences)
    if not claimed and not own_limit:
        claimed = lines_of(passes(report))
    if not claimed:
        return
    beyond = [
        (claim, f"{claim.field} is {quoted(claim.value)}")
        for claim in headline(report.figures("relative_l2", "max_over_range"))
        if claim.figure and claim.figure.value > _ONE_PERCENT
    ]
    beyond += [
        (claim, f"cosine {quoted(claim.value)} means a relative L2 of at least {least:.2%}")
        for claim in headline(report.figures("cosine_similarity"))
        if claim.figure
        and (least := least_relative(min(Decimal(1), claim.figure.value + claim.figure.unit)))
        > _ONE_PERCENT
    ]
    if beyond:
        lines = [claim.line.number for claim, _ in beyond] + claimed
        message = (
            f"{beyond[0][1]}: that is not within 1%; the verdict is FAIL, or name its own limit"
        )
        yield error("verdict-denied", lines, message)


_OTHER_LIMIT = re.compile(
    r"(?:limit|threshold|阈值|上限)[^。;]{0,40}(?<![\d.])(?!1\s?%)\d{1,2}(?:\.\d)?\s?%",
    re.IGNORECASE,
)


def cosine_threshold(report: Report) -> Iterator[Finding]:
    """A cosine threshold that is no 1%, where a verdict rests on it."""
    found: dict[str, list[int]] = {}
    for sentence, limit in _cosine_limits(report):
        if Decimal(limit) < _ENOUGH and _rests_on(report, sentence):
            found.setdefault(limit, []).append(sentence.line.number)
    for limit, lines in found.items():
        message = (
            f"cosine > {limit} lets a relative L2 of {least_relative(Decimal(limit)):.1%} through "
            "(sqrt(1 - cosine^2)); 1% needs at least 0.99995, and a figure of the size as well"
        )
        yield error("cosine-threshold", lines, message)


def _cosine_limits(report: Report) -> Iterator[tuple[Sentence, str]]:
    for sentence in report.sentences:
        for found in _COSINE_ABOVE.finditer(_without_values(sentence.text)):
            yield sentence, found[1]


def _without_values(text: str) -> str:
    """`cosine=0.999997>0.99` as `cosine>0.99`."""
    return re.sub(r"[=:]\s?0?\.\d{1,40}(?=\s?[<>≥≤])", "", text)


def _rests_on(report: Report, sentence: Sentence) -> bool:
    """Whether a verdict rests on what the sentence says: it is a basis, or there is no better one."""
    if _EXPLAINS.search(sentence.text):
        return False
    basis = lines_of(report.of("match_basis"))
    return sentence.line.number in basis or not relative_figures(report)


def absolute_threshold(report: Report) -> Iterator[Finding]:
    """An absolute error as the criterion: it says nothing of 1% without the reference's size."""
    if relative_figures(report):
        return
    lines = [
        claim.line.number
        for claim in report.figures("max_abs_diff", "mean_abs_diff")
        if claim.limit
    ]
    lines += [
        sentence.line.number
        for sentence in _criteria(report)
        if _ABSOLUTE.search(sentence.text) and not _EXPLAINS.search(sentence.text)
    ]
    if lines:
        message = (
            "an absolute error is no 1%: how large it is depends on the outputs' own size; set it "
            "against the reference (max|diff|/max|ref|)"
        )
        yield error("absolute-threshold", lines, message)


def _criteria(report: Report) -> list[Sentence]:
    """Sentences that say what the verdict is judged by."""
    basis = lines_of(report.of("match_basis"))
    return [
        sentence
        for sentence in report.sentences
        if sentence.line.number in basis or _CRITERION.search(sentence.text)
    ]


def basis_not_stated(report: Report) -> Iterator[Finding]:
    """The criterion names figures that the report does not give."""
    for sentence in _criteria(report):
        missing = [
            name
            for name, named in _NAMED.items()
            if named.search(sentence.text) and not _given(report.of(name))
        ]
        if missing:
            message = f"the verdict rests on {', '.join(missing)}, which the report does not give"
            yield error("basis-not-stated", [sentence.line.number], f"{message}; measure it")


def _given(claims: list[Statement]) -> bool:
    return any(claim.figure is not None or claim.flag is not None for claim in claims)


def loose_allclose(report: Report) -> Iterator[Finding]:
    """A pass that rests on allclose with wide tolerances alone."""
    close = [claim for claim in report.of("torch_allclose_atol_5e-2_rtol_1e-2") if claim.flag]
    good = lines_of(passes(report)) + within_one_percent(report)
    if close and good and not relative_figures(report) and not report.figures("cosine_similarity"):
        message = (
            "allclose(atol=5e-2, rtol=1e-2) passes any error below 0.05, however small the outputs are; "
            "give a relative figure"
        )
        yield error("loose-allclose", lines_of(close), message)


def npu_without_hardware(report: Report) -> Iterator[Finding]:
    """An NPU's result, and not one word of the NPU or its software."""
    results = npu_results(report)
    if (
        results
        and not report.of("device_name", "torch_npu", "cann_version")
        and not report.mentions(_CHIP)
    ):
        message = "a result of an NPU without its name, CANN or torch_npu: nobody can repeat it; state them"
        yield error("npu-without-hardware", results, message)
