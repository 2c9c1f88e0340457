"""Statements of one report that cannot both be true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from kit.lint.fields import FIELDS, Kind
from kit.lint.finding import Finding, error, quoted
from kit.lint.reader import Report, Statement
from kit.lint.stated import lines_of, on_cpu, random_weights, real_weights, runs_on_npu
from kit.lint.values import Figure

_VERSION = re.compile(r"^v?(\d{1,6}(?:\.\w{1,12}){1,4})")
_CHIP = re.compile(
    r"(?<![\w.])(?:Ascend\s?-?)?(910(?:_?[A-D]\d?)?|310[PB]?\d?)(?![\w.])", re.IGNORECASE
)


def _name(pattern: re.Pattern[str]) -> Callable[[Statement], str | None]:
    def read(claim: Statement) -> str | None:
        found = pattern.search(claim.value)
        return found[1].upper().replace("_", "") if found else None

    return read


def _goes_on(short: str, long: str) -> bool:
    """Whether a name or version is another one, more exactly: 910 and 910B4, 2.9.0 and 2.9.0.post1."""
    return long.startswith(short)


# By kind of field: how a value is read, and when two of them, the lower one first, are the same.
_READ: dict[Kind, tuple[Callable[[Statement], Any], Callable[[Any, Any], bool]]] = {
    Kind.NUMBER: (lambda claim: claim.figure, Figure.same),
    Kind.FLAG: (lambda claim: claim.flag, bool.__eq__),
    Kind.VERSION: (_name(_VERSION), _goes_on),
    Kind.CHIP: (_name(_CHIP), _goes_on),
}


def two_values(report: Report) -> Iterator[Finding]:
    """Two figures, answers, versions or chips for one thing, further apart than their printed digits."""
    for field in FIELDS:
        if field.several or field.kind not in _READ:
            continue
        read, same = _READ[field.kind]
        stated = [claim for claim in report.of(*field.names) if read(claim) is not None]
        for group in _comparable(stated):
            ordered = sorted(group, key=read)
            firsts = ordered[:1]
            firsts += [high for low, high in pairwise(ordered) if not same(read(low), read(high))]
            if len(firsts) > 1:
                values = " and ".join(
                    f"{quoted(claim.value)} (line {claim.line.number})" for claim in firsts[:4]
                )
                message = f"{field.name} has {len(firsts)} values: {values}; state each once, from one run"
                yield error("two-values", lines_of(ordered), message)


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


def contradictions(report: Report) -> Iterator[Finding]:
    """Two claims that exclude each other: weights, what ran, where it ran."""
    denied = report.saying("no_generate")
    generate = [each for each in report.saying("generate") if each not in denied]
    for rule, one, other, message in (
        ("weights-contradiction", real_weights(report), random_weights(report),
         "line {0} says real weights, line {1} that they failed or are random; say which weights gave "
         "these figures"),
        ("generate-contradiction", lines_of(generate), lines_of(denied),
         "generate() is claimed, but only forward() was compared; compare its tokens too"),
        ("npu-on-cpu", runs_on_npu(report), on_cpu(report),
         "line {0} claims a result of an NPU, line {1} says it is none; correct one"),
    ):  # fmt: skip
        if one and other:
            yield error(rule, one + other, message.format(min(one), min(other)))
