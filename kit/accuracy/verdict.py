"""The verdict on one output and on all of them, with its reasons in words and numbers.

PASS needs every figure: what could not be computed, is missing on one side or is not repeatable never
passes. The limits are in kit/accuracy/thresholds.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kit.accuracy.dtypes import is_exact, why_unreadable
from kit.accuracy.exact import judge_exact, judge_whole
from kit.accuracy.judged_figures import judge_metrics
from kit.accuracy.metrics import measure
from kit.accuracy.outcome import OutputVerdict, Verdict, blank_of, invalid
from kit.accuracy.repeats import Repeat
from kit.accuracy.spec import OutputSpec
from kit.accuracy.token_ids import judge_token_ids
from kit.errors import shown
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor


def judge_outputs(
    specs: Mapping[str, OutputSpec],
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeats: Mapping[str, Repeat],
    golden: Mapping[str, Tensor] | None = None,
) -> dict[str, OutputVerdict]:
    """Judge every output of `specs` but the step scores, which are judged with the ids they chose.
    `golden` are the reference's outputs in fp64, as far as there are any."""
    return settle(
        {
            name: judge_output(name, spec, reference, device, repeats.get(name), golden)
            for name, spec in specs.items()
            if spec.role != "step_scores"
        }
    )


def settle(verdicts: Mapping[str, OutputVerdict]) -> dict[str, OutputVerdict]:
    """Equal outputs that hold nothing (all zero, empty, one value but for rounding) pass beside one that
    holds something and passes; a comparison of nothing else shows nothing."""
    shown = any(found.verdict == "PASS" and not found.blank for found in verdicts.values())
    verdict: Verdict = "PASS" if shown else "INVALID"
    return {
        name: replace(found, verdict=verdict, within_1_percent=True if shown else None)
        if found.blank
        else found
        for name, found in verdicts.items()
    }


def judge_output(
    name: str,
    spec: OutputSpec,
    reference: Mapping[str, Tensor],
    device: Mapping[str, Tensor],
    repeat: Repeat | None,
    golden: Mapping[str, Tensor] | None = None,
) -> OutputVerdict:
    """Judge the output `name` of both sides (CPU tensors)."""
    if name not in device or name not in reference:
        side = "device" if name not in device else "reference"
        return invalid(Reason(f"no_output_of_{side}", output=shown(name)))
    if repeat is None:
        return invalid(Reason("repeat_unknown"))
    if spec.role == "token_ids":
        return judge_token_ids(name, spec, reference, device, repeat)
    shapes = [list(side[name].shape) for side in (reference, device)]
    if shapes[0] != shapes[1]:
        return invalid(Reason("shapes", ours=str(shapes[0]), theirs=str(shapes[1])))
    if reference[name].numel() == 0:
        return blank_of(Reason("empty", shape=str(shapes[0])))
    if problem := next(filter(None, map(why_unreadable, (reference[name], device[name]))), None):
        return invalid(problem)
    exact = [is_exact(side[name]) for side in (reference, device)]
    if all(exact):
        return judge_exact(reference[name], device[name], repeat)
    if any(exact):
        return invalid(
            Reason("dtypes", ours=str(reference[name].dtype), theirs=str(device[name].dtype))
        )
    whole = spec.role != "logits" and repeat.bit_identical  # scores have figures of their own
    if whole and (verdict := judge_whole(reference[name], device[name])):
        return verdict
    of_golden = (golden or {}).get(name)
    if of_golden is not None and (
        is_exact(of_golden) or of_golden.is_complex() != reference[name].is_complex()
    ):
        of_golden = None
    ranked = spec.role == "logits"
    metrics = measure(reference[name], device[name], ranked=ranked, golden=of_golden)
    return judge_metrics(metrics, repeat, spec.thresholds)


def overall(verdicts: Mapping[str, OutputVerdict]) -> Verdict:
    """INVALID where any output is, then FAIL, else PASS; a comparison of nothing is INVALID."""
    found = {each.verdict for each in verdicts.values() if not each.blank}
    if not found or "INVALID" in found:
        return "INVALID"
    return "FAIL" if "FAIL" in found else "PASS"
