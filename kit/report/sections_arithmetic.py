"""What crafted inputs revealed of the device's arithmetic, beside what its flags say."""

from __future__ import annotations

from kit.evidence.flag_claims import why_not_believed
from kit.evidence.types.arithmetic import ProbedArithmetic, ProductArithmetic
from kit.report.facts import Told
from kit.report.outline import Cell, Points, Section, Table

_FIELDS = (
    *("operand_bits", "rounding", "wide_range", "subnormal_operands", "subnormal_results"),
    *("accumulator_bits", "order"),
)


def arithmetic(told: Told) -> Section:
    """How the device computes, a column a kind of operator."""
    proof = told.summary.device_proof
    if proof is None or proof.arithmetic is None:
        return told.without("arithmetic", "device_proof.arithmetic")
    found = proof.arithmetic
    facts = (
        told.fact("probed_dtype", found.dtype),
        told.fact("gelu", told.say(f"arithmetic.{found.gelu}")),
        told.fact("same_as_cpu", found.same_as_cpu),
        told.fact("other_than_cpu", found.other_than_cpu),
    )
    kind = (told.summary.device or "").partition(":")[0]
    doubts = tuple(told.say.reason(doubt) for doubt in why_not_believed(kind, found))
    said = [Points(doubts)] if doubts else []
    return told.section("arithmetic", *said, _products(told, found), facts)


def _products(told: Told, found: ProbedArithmetic) -> Table:
    rows = tuple(
        (
            told.say(f"label.{field}"),
            _shown(told, found.matmul, field),
            _shown(told, found.convolution, field),
        )
        for field in _FIELDS
    )
    return Table(head=told.heads("what", "matmul", "convolution"), rows=rows, words=3)


def _shown(told: Told, product: ProductArithmetic | None, field: str) -> Cell:
    """A finding in words; what could not be told reads unknown."""
    value = None if product is None else getattr(product, field)
    if product is not None and field == "order" and product.block is not None:
        return told.say("arithmetic.in_blocks", block=product.block)
    if value is None:
        return told.say("arithmetic.unknown")
    if isinstance(value, bool):
        return told.yes(value)
    return told.say(f"arithmetic.{value}") if isinstance(value, str) else str(value)
