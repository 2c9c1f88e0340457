"""What a report says of itself as a whole, as several rules ask it: lines, unless said otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from kit.lint.layout import Line
from kit.lint.reader import Report, Statement
from kit.lint.sentences import Sentence
from kit.lint.values import NUMBER
from kit.lint.words import says, without

ONE_PERCENT = Decimal("0.01")
_NUMBER = re.compile(NUMBER)
_SHARE = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,10})?)\s?%")


def headline(claims: list[Statement]) -> list[Statement]:
    """The claims that are of the run as such."""
    return [claim for claim in claims if not claim.scope]


def lines_of(claims: Iterable[Statement | Sentence]) -> list[int]:
    """Where they are."""
    return [claim.line.number for claim in claims]


def real_weights(report: Report) -> list[int]:
    """The published weights were used."""
    stated = report.flagged(True, "pretrained_used", "weights_status")
    return stated + report.asserting("real_weights")


def random_weights(report: Report) -> list[int]:
    """They were not."""
    stated = report.flagged(False, "pretrained_used", "weights_status")
    stated += report.flagged(True, "fallback_used") + report.asserting("random_weights")
    return stated + [each.line.number for each in report.saying("weights_not_fetched")]


def on_cpu(report: Report) -> list[int]:
    """The run was on a CPU."""
    return lines_of(claim for claim in headline(report.of("device")) if says("cpu", claim.value))


def runs_on_npu(report: Report) -> list[int]:
    """The run was on an NPU: a latency, a success, a side of the comparison, npu:N as the device."""
    sides = [
        claim
        for claim in report.of("device")
        if claim.value.lower().startswith("npu")
        or (says("npu", claim.value) and not says("no_npu", claim.value))
    ]
    return lines_of(report.figures("npu_latency_ms") + sides) + report.asserting("ran_on_npu")


def passes(report: Report) -> list[Statement]:
    """Verdicts that say PASS."""
    verdicts = report.of("verdict")
    return [each for each in verdicts if says("pass", each.value) and not says("fail", each.value)]


def denials(report: Report) -> list[int]:
    """The outputs do not agree: an honest verdict."""
    failed = lines_of(claim for claim in report.of("verdict") if says("fail", claim.value))
    return failed + report.flagged(False, "match_within_1_percent")


def within_one_percent(report: Report) -> list[int]:
    """The error is within 1%."""
    said = [
        each.line.number
        for each in report.sentences
        if each.asserts("error_of_one_percent")
        and each.says("meets")
        and not _share_beyond(each.text)
    ]
    return report.flagged(True, "match_within_1_percent") + said


def agreements(report: Report) -> list[int]:
    """Device and reference agree, by whatever words."""
    stated = within_one_percent(report) + lines_of(passes(report))
    return stated + report.asserting("agreement")


def elements_beyond(report: Report) -> Iterator[tuple[int, Decimal]]:
    """The share of elements, 0 to 1, that are off by more than 1%, by line."""
    for line in report.lines:
        for text in [" ".join(line.cells)] if line.cells else re.split("[。;]", line.text):
            if share := _share_beyond(text):
                yield line.number, share


def _share_beyond(text: str) -> Decimal | None:
    """`37.4%` of `elements with an error above 1%: 37.4%`; of those below 1%, the rest."""
    inside = says("inside", text)
    share = _SHARE.search(without("beyond", without("inside", text)))
    if not share or not says("elements", text) or not (inside or says("beyond", text)):
        return None
    part = Decimal(share[1]) / 100
    return 1 - part if inside else part


def relative_figures(report: Report) -> list[Line]:
    """Lines with an error set against the size of the reference: what 1% can be of."""
    fields = ("relative_l2", "max_over_range", "mean_relative")
    lines = [claim.line for claim in report.figures(*fields)]
    for sentence in report.saying("relative_error"):
        found = says("relative_error", sentence.text)
        share = _share_beyond(sentence.text)
        if found and not share and _NUMBER.search(sentence.text, found.end()):
            lines.append(sentence.line)
    return lines


def feature_vectors(report: Report) -> list[int]:
    """The output is a feature vector; none where logits stand beside it."""
    shapes = report.of("output_shape")
    labels = [claim.label for claim in report.claims] + [claim.value for claim in shapes]
    if report.saying("top_k_of_classes") or any("logits" in label.lower() for label in labels):
        return []
    return lines_of(claim for claim in shapes if says("features", claim.value))
