"""What another person checks: where everything was, in which arithmetic, and which bytes."""

from __future__ import annotations

from kit.report.facts import Told, count
from kit.report.outline import Fact, Note, Section, Table


def proof(told: Told) -> Section:
    """Where parameters, buffers and outputs were."""
    found, weights = told.summary.device_proof, told.summary.weights
    if found is None:
        return told.without("proof", "device_proof")
    same = weights is not None and weights.fingerprint == found.weights_fingerprint
    compared = told.say("text.same" if same else "text.cast", dtype=told.summary.dtype)
    peak = None if found.peak_bytes is None else count(found.peak_bytes)
    facts = (
        *told.facts("device_proof.parameters", "device_proof.buffers", "device_proof.outputs"),
        told.fact("parameter_bytes", count(found.parameter_bytes)),
        told.fact("peak_bytes", told.figure(peak, "peak_bytes")),
        told.fact("weights_fingerprint", f"{found.weights_fingerprint} ({compared})"),
    )
    return told.section("proof", facts, Note(told.say("text.word")))


def precision(told: Told) -> Section:
    """The flags that decide on the arithmetic, as read back."""
    found = told.summary.precision
    if found is None:
        return told.without("precision", "precision")
    flags = (Fact(name, told.figure(value, "flag")) for name, value in found.flags.items())
    facts = (*told.facts("precision.requested"), *flags, *told.facts("precision.not_set"))
    return told.section("precision", facts)


def hashes(told: Told) -> Section:
    """Fingerprints, and the hash of every saved tensor."""
    run, reference = told.run, told.summary.reference
    facts = (
        told.fact("fingerprint_loaded", told.at("run.weights.fingerprint")),
        told.fact("fingerprint_input", told.at("run.input.fingerprint")),
    )
    sides = {
        "input": run.input.tensors if run and run.input else None,
        "output": run.outputs if run else None,
        "reference": reference.outputs if reference else None,
        "golden": reference.golden.outputs if reference else None,
    }
    rows = tuple(
        (told.say(f"label.{side}_tensor"), name, told.text(each.shape), each.dtype, each.sha256)
        for side, tensors in sides.items()
        for name, each in (tensors or {}).items()
    )
    head = (*told.heads("what", "name_of", "shape"), "dtype", "sha256")
    fold = told.say("label.tensors", count=len(rows))
    table = Table(head=head, rows=rows, words=5, fold=fold)
    return told.section("hashes", facts, *([table] if rows else ()))


def attempts(told: Told) -> Section:
    """Where weights were looked for."""
    weights = told.summary.weights
    if weights is None or not weights.attempts:
        return told.without("attempts", "weights.attempts")
    rows = tuple(
        (each.source, each.target, each.outcome, told.text(each.reason), f"{each.seconds:.3f}")
        for each in weights.attempts
    )
    head = told.heads("source", "target", "outcome", "reason", "seconds")
    fold = told.say("label.places", count=len(rows))
    return told.section("attempts", Table(head=head, rows=rows, words=4, fold=fold))
