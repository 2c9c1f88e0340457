"""What crafted inputs revealed of the device's arithmetic, beside what its flags say."""

from __future__ import annotations

from kit.evidence.flag_claims import contradiction_text
from kit.evidence.types.arithmetic import ProbedArithmetic, ProductArithmetic
from kit.report.facts import Told
from kit.report.outline import Block, Cell, Note, Points, Section, Table


def arithmetic(told: Told) -> Section:
    """How the device computes, a column a kind of operator."""
    proof, device = told.summary.device_proof, told.summary.device
    if proof is None or proof.arithmetic is None:
        return told.without("arithmetic", "device_proof.arithmetic")
    found = proof.arithmetic
    facts = (
        told.fact("probed_dtype", found.dtype),
        told.fact("gelu", told.say(f"arithmetic.{found.gelu}")),
        told.fact("same_as_cpu", found.same_as_cpu),
        told.fact("other_than_cpu", found.other_than_cpu),
    )
    doubts: list[Block] = []
    if found.contradictions:
        doubts.append(Note(told.say("arithmetic.contradicted"), "bad"))
        doubts.append(Points(tuple(map(contradiction_text, found.contradictions))))
    if found.answers_as_cpu and device is not None and not device.startswith("cpu"):
        doubts.append(Note(told.say("arithmetic.answers_as_cpu"), "bad"))
    return told.section("arithmetic", *doubts, _products(told, found), facts)


def _products(told: Told, found: ProbedArithmetic) -> Table:
    head = told.heads("what", "matmul", "convolution")
    fields = (name for name in ProductArithmetic.__struct_fields__ if name != "block")
    rows = tuple(
        (
            told.say(f"label.{field}"),
            _shown(told, found.matmul, field),
            _shown(told, found.convolution, field),
        )
        for field in fields
    )
    return Table(head=head, rows=rows, words=3)


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
