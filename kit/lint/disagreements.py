"""Statements of one report that cannot both be true."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from kit.lint.finding import Finding, error, quoted
from kit.lint.reader import Report, Statement
from kit.lint.stated import (
    lines_of,
    npu_results,
    on_cpu,
    passes,
    random_weights,
    real_weights,
    runs_on_npu,
    simulated,
    within_one_percent,
)
from kit.lint.values import figure

# The same thing under several names; what is grouped here must agree.
_ONE_FIGURE = (
    ("max_abs_diff",),
    ("mean_abs_diff",),
    ("cosine_similarity",),
    ("relative_l2",),
    ("max_over_range",),
    ("latency_ms", "npu_latency_ms"),
    ("cpu_latency_ms",),
    ("cold_ms",),
    ("p50_ms",),
    ("p90_ms",),
    ("device_count",),
)
_ONE_ANSWER = (
    "pretrained_used", "local_weight_used", "fallback_used", "top1_match", "top5_match", "simulated",
    "match_within_1_percent", "torch_allclose_atol_5e-2_rtol_1e-2",
)  # fmt: skip
_ONE_VERSION = ("torch", "torch_npu", "cann_version", "transformers", "timm", "python")
_VERSION = re.compile(r"^v?(\d{1,6}(?:\.\w{1,12}){1,4})")
_CHIP = re.compile(
    r"(?<![\w.])(?:Ascend\s?-?)?(910(?:_?[A-D]\d?)?|310[PB]?\d?)(?![\w.])", re.IGNORECASE
)
_NO_GENERATE = re.compile(
    r"(?:不调用|不使用|非)[^,。;)]{0,12}generate|(?:not|without|instead of)[^,.;)]{0,20}generat",
    re.IGNORECASE,
)
_GENERATE = re.compile(
    r"(?:端到端|end-to-end|包括|includ\w{0,3})[^。;]{0,60}generat", re.IGNORECASE
)


def two_values(report: Report) -> Iterator[Finding]:
    """Two figures, answers or versions for one thing, further apart than their printed digits."""
    for fields in _ONE_FIGURE:
        for claims in _comparable(report.figures(*fields)):
            ordered = sorted(claims, key=lambda claim: claim.figure.value if claim.figure else 0)
            yield from _told_apart(
                fields[-1], ordered, [not _same(*pair) for pair in pairwise(ordered)]
            )
    for name in _ONE_ANSWER:
        for claims in _comparable([claim for claim in report.of(name) if claim.flag is not None]):
            ordered = sorted(claims, key=lambda claim: bool(claim.flag))
            yield from _told_apart(name, ordered, [a.flag != b.flag for a, b in pairwise(ordered)])
    for name in _ONE_VERSION:
        for claims in _comparable(
            [claim for claim in report.of(name) if _VERSION.match(claim.value)]
        ):
            ordered = sorted(claims, key=_version)
            apart = [not _version(b).startswith(_version(a)) for a, b in pairwise(ordered)]
            yield from _told_apart(name, ordered, apart)


def _comparable(claims: Sequence[Statement]) -> list[list[Statement]]:
    """Claims of the same scope together; a table's labelled rows and a list's several items are not."""
    groups: dict[frozenset[str], list[Statement]] = {}
    for claim in claims:
        if not claim.label:
            groups.setdefault(claim.scope, []).append(claim)
    several = [
        [claim for claim in group if not claim.line.points]
        if len({claim.line.points for claim in group if claim.line.points}) > 1
        else group
        for group in groups.values()
    ]
    return [group for group in several if len(group) > 1]


def _told_apart(
    name: str, ordered: Sequence[Statement], breaks: Sequence[bool]
) -> Iterator[Finding]:
    if not any(breaks):
        return
    firsts = [ordered[0], *(claim for claim, cut in zip(ordered[1:], breaks, strict=True) if cut)]
    values = " and ".join(
        f"{quoted(claim.value)} (line {claim.line.number})" for claim in firsts[:4]
    )
    message = f"{name} has {len(firsts)} values: {values}; state each figure once, from one run"
    yield error("two-values", lines_of(list(ordered)), message)


def _same(a: Statement, b: Statement) -> bool:
    return a.figure is not None and b.figure is not None and a.figure.same(b.figure)


def _version(claim: Statement) -> str:
    found = _VERSION.match(claim.value)
    return found[1] if found else ""


def weights_contradiction(report: Report) -> Iterator[Finding]:
    """Real weights are claimed where others were loaded, or none."""
    real, random = sorted(real_weights(report)), sorted(random_weights(report))
    if real and random:
        message = (
            f"line {real[0]} says real weights, line {random[0]} that they failed or are random; "
            "say which weights gave these figures"
        )
        yield error("weights-contradiction", real + random, message)


def generate_contradiction(report: Report) -> Iterator[Finding]:
    """Generation is claimed where the report says that only forward() was compared."""
    without = [each.line.number for each in report.sentences if _NO_GENERATE.search(each.text)]
    claimed = [each.line.number for each in report.sentences if _GENERATE.search(each.text)]
    claimed = [number for number in claimed if number not in without]
    if without and claimed:
        message = "generate() is claimed, but only forward() was compared; compare its tokens too"
        yield error("generate-contradiction", claimed + without, message)


def hardware_contradiction(report: Report) -> Iterator[Finding]:
    """Two different chips for one run."""
    chips: dict[str, int] = {}
    for claim in report.of("device", "device_name"):
        for chip in _CHIP.findall(claim.value):
            chips.setdefault(chip.upper().replace("_", ""), claim.line.number)
    ordered = sorted(chips)
    if any(not b.startswith(a) for a, b in pairwise(ordered)):
        message = f"the device is {' and '.join(ordered)}; name the chip that gave the figures"
        yield error("hardware-contradiction", chips.values(), message)


def npu_on_cpu(report: Report) -> Iterator[Finding]:
    """An NPU's result is claimed for a run on a CPU or on a simulation."""
    cpu, npu = sorted(on_cpu(report)), sorted(runs_on_npu(report))
    if not cpu:
        cpu, npu = sorted(simulated(report)), sorted(npu_results(report))
    if cpu and npu:
        message = (
            f"line {npu[0]} claims a result of an NPU, line {cpu[0]} says it is none; correct one"
        )
        yield error("npu-on-cpu", npu + cpu, message)


def bound_broken(report: Report) -> Iterator[Finding]:
    """`max_abs_diff < 0.01` beside a larger figure, in a report that passes."""
    good = passes(report) or within_one_percent(report)
    for bound in report.claims if good else ():
        limit, text = (
            (bound.op, bound.value) if bound.op in "<>" else (bound.limit[:1], bound.limit)
        )
        edge = figure(text)
        if edge is None or not limit or limit not in "<>":
            continue
        broken = [
            claim
            for claim in report.figures(bound.field)
            if claim.scope == bound.scope
            and claim.figure is not None
            and (claim.figure.value > edge.value) == (limit == "<")
            and claim.figure.value != edge.value
        ]
        if broken:
            message = (
                f"{bound.field} {limit} {edge.value} is not so: it is {quoted(broken[0].value)}"
            )
            yield error(
                "bound-broken", [bound.line.number, *lines_of(broken)], f"{message}; correct one"
            )
