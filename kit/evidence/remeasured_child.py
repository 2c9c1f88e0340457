"""The process that measures a finished comparison again: kit/evidence/remeasured.py says what for."""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from kit.accuracy.comparison import Comparison, Reference, compare
from kit.accuracy.golden import relative_l2
from kit.accuracy.ranking import top5_of_both
from kit.accuracy.spec import OutputSpec
from kit.documented import written
from kit.errors import KitError, UntrustedError
from kit.evidence.charts import spread
from kit.evidence.documents import read_charts, read_record, read_summary
from kit.evidence.handover import finished, read_adapter, read_tensors
from kit.evidence.left_out import judged_outputs
from kit.evidence.logs import (
    CHARTS,
    GOLDEN,
    OUTPUTS,
    RECORD,
    REFERENCE,
    SAMPLE_FIGURES,
    SUMMARY,
    Logs,
)
from kit.evidence.remeasured import NO_TORCH
from kit.evidence.sample_files import judge_shards
from kit.evidence.trust import device_repeats
from kit.evidence.types.run import FinishedRun
from kit.evidence.types.summary import Summary
from kit.machine.background import in_background
from kit.models.families.top5 import top5
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

# Relative: another order of summation, on another machine, changes a figure by less.
_ROUNDING = 1e-6
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def check_measured(logs: Logs) -> None:
    """Measure everything again that the saved tensors tell of. Raises UntrustedError where a tensor is
    not the recorded one, or a figure not that of the tensors; UsageError where there is no run."""
    summary = read_summary(logs)
    if summary.outputs is None or summary.reference is None:
        return
    record = read_record(logs)
    adapter, run = read_adapter(logs, record), finished(record)
    saved, golden = summary.reference, summary.reference.golden.outputs
    reference = Reference(
        outputs=read_tensors(logs, REFERENCE, saved.outputs),
        repeats=(summary.noise.reference_repeat if summary.noise else None) or {},
        golden=read_tensors(logs, GOLDEN, golden) if golden else {},
        golden_reason=saved.golden.reason,
    )
    device = read_tensors(logs, OUTPUTS, run.outputs)
    specs = judged_outputs(adapter.outputs, run.weights)
    charts = in_background(lambda: [*_charts(logs, summary, reference, device)])
    compared = compare(
        specs,
        reference,
        device,
        device_repeats(run.noise),
        hf32=run.precision.hf32,
        dtype=run.arguments.dtype,
    )
    claims = (
        *_described(run, adapter.outputs, device),
        *_outputs(summary, compared),
        *_explained(summary, reference, device),
        *charts.result(),
        *_samples(logs, run, summary, specs),
    )
    for name, told, found in claims:
        if different := next(_differences(told, found, name), None):
            raise UntrustedError(
                Reason("not_what_saved_gives", figure=different), Reason("rejudge")
            )


Claims = Iterator[tuple[str, Any, Any]]


def _described(
    run: FinishedRun, specs: Mapping[str, OutputSpec], device: Mapping[str, Tensor]
) -> Claims:
    """The five classes and the tokens of the record, but for their names: those need the library."""
    first, generated = run.described.top5, run.described.generated
    roles = {name: spec.role for name, spec in specs.items() if name in device}
    if first is not UNSET:
        told = [[each.index, each.logit] for each in first]
        ranked = [_largest(device[name]) for name, role in roles.items() if role == "logits"]
        yield f"described.top5 in {RECORD}", told in ranked, True
    if generated is not UNSET:
        ids = [device[name][0].tolist() for name, role in roles.items() if role == "token_ids"]
        yield f"described.generated in {RECORD}", generated.token_ids in ids, True


def _largest(logits: Tensor) -> list[list[Any]]:
    """Index and logit of the five largest of the first row."""
    row = logits.reshape(-1, logits.shape[-1])[0]
    return [[each["index"], each["logit"]] for each in top5(row, None)]


def _outputs(summary: Summary, found: Comparison) -> Claims:
    yield f"trace in {SUMMARY}", written(summary.trace), written(found.trace)
    for name, output in (summary.outputs or {}).items():
        ours = found.outputs[name]
        for section in ("verdict", "metrics", "truth", "further", "within_1_percent", "blank"):
            told, measured = (written(getattr(each, section)) for each in (output, ours))
            yield f"outputs.{name}.{section} in {SUMMARY}", told, measured


def _explained(summary: Summary, reference: Reference, device: Mapping[str, Tensor]) -> Claims:
    """The errors against the golden; what was emulated nobody can measure without the model."""
    outputs = summary.explanation.outputs if summary.explanation else {}
    for name, explained in outputs.items():
        figures = {"observed_relative_l2": device, "fp32_relative_l2": reference.outputs}
        for figure, side in figures.items():
            golden = reference.golden.get(name)
            found = None if golden is None else relative_l2(side[name], golden, golden)
            told = getattr(explained, figure)
            yield f"explanation.outputs.{name}.{figure} in {SUMMARY}", told, found


def _charts(
    logs: Logs, summary: Summary, reference: Reference, device: Mapping[str, Tensor]
) -> Claims:
    try:
        charts = read_charts(logs)
    except UntrustedError:
        return  # a report shows none, and says why
    if charts is None:
        return
    outputs = summary.outputs or {}
    for name, drawn in charts.outputs.items():
        if name not in outputs:
            yield f"outputs.{name} in {CHARTS}", True, False
            continue
        golden = reference.golden[name] if outputs[name].truth else None
        found = spread(reference.outputs[name], device[name], golden)
        for figure, value in found.items():
            yield (
                f"outputs.{name}.{figure} in {CHARTS}",
                written(getattr(drawn, figure)),
                written(value),
            )
    if (top5 := charts.top5) and top5.output in outputs:
        labels = {each.index: each.label for each in top5.classes if each.label}
        both = top5_of_both(reference.outputs[top5.output], device[top5.output], labels)
        yield f"top5 in {CHARTS}", written(top5.classes), both


def _samples(
    logs: Logs, run: FinishedRun, summary: Summary, specs: Mapping[str, OutputSpec]
) -> Claims:
    if summary.samples is None or run.samples is None or summary.reference is None:
        return
    lines: list[Any] = []
    found = judge_shards(
        (logs, summary.reference.samples),
        logs,
        run,
        specs,
        tell=lambda line: lines.append(written(line)),
    )
    yield f"samples in {SUMMARY}", written(summary.samples), written(found)
    try:
        told = logs.path(SAMPLE_FIGURES).read_text("utf-8").splitlines()
        yield SAMPLE_FIGURES, [json.loads(line) for line in told], lines
    except (OSError, ValueError, RecursionError) as error:
        raise UntrustedError(
            Reason("document_damaged", name=SAMPLE_FIGURES, said=str(error)), Reason("run_again")
        ) from error


def _differences(told: Any, found: Any, name: str) -> Iterator[str]:
    """Dotted names of what differs by more than rounding."""
    if told == found:
        return
    if isinstance(told, dict) and isinstance(found, dict):
        for key in sorted({*told, *found}):
            yield from _differences(told.get(key), found.get(key), f"{key} of {name}")
    elif isinstance(told, list) and isinstance(found, list):
        if len(told) != len(found):
            yield name
        for ours, theirs in zip(told, found, strict=False):
            yield from _differences(ours, theirs, name)
    elif isinstance(told, float) and isinstance(found, (float, int)):
        if not math.isclose(told, found, rel_tol=_ROUNDING, abs_tol=1e-12):
            yield name
    elif isinstance(told, str) and isinstance(found, str):
        # A figure in a sentence has three digits, the last of which rounding may change.
        if _NUMBER.sub("#", told) != _NUMBER.sub("#", found) or any(
            not math.isclose(float(a), float(b), rel_tol=0.02)
            for a, b in zip(_NUMBER.findall(told), _NUMBER.findall(found), strict=True)
        ):
            yield name
    else:
        yield name


class _WhenAsked(ModuleType):
    """Stands for a module that is imported by the first use of anything in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(importlib.import_module(self.__name__), name)


if __name__ == "__main__":
    # Operators of tensors without data, a third of torch's import: nothing here has such a tensor.
    meta = _WhenAsked("torch._meta_registrations")
    sys.modules[meta.__name__] = meta
    # What an import makes stays: to look through it for garbage, now and at the end, takes a second.
    gc.disable()
    try:
        import torch  # noqa: F401
    except (ImportError, OSError):  # OSError: a library of its own that is missing
        raise SystemExit(NO_TORCH) from None
    gc.freeze()
    gc.enable()
    code = 0
    try:
        check_measured(Logs(Path(sys.argv[1])))
    except KitError as refusal:
        print(json.dumps([refusal.what, refusal.cure]), file=sys.stderr, flush=True)
        code = refusal.exit_code
    os._exit(code)  # nothing is left to do, and to take torch apart takes a tenth of the whole
