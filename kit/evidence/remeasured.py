"""The figures of a finished comparison, measured again from the tensors that lie beside it.

Whoever shows or publishes a comparison asks for this first: a summary whose figures fit each other may
still be that of other tensors. It takes torch, so it runs in a process of its own beside whatever its
asker does meanwhile.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.documented import written
from kit.errors import UntrustedError
from kit.evidence.documents import AGAIN, read_charts, read_record, read_summary
from kit.evidence.handover import finished, read_adapter, read_tensors
from kit.evidence.left_out import judged_outputs
from kit.evidence.logs import CHARTS, GOLDEN, OUTPUTS, REFERENCE, SAMPLE_FIGURES, SUMMARY, Logs, log
from kit.evidence.trust import device_repeats
from kit.evidence.types.charts import Charts
from kit.evidence.types.run import FinishedRun
from kit.evidence.types.summary import SavedReference, Summary
from kit.machine.background import in_background
from kit.machine.bounded import Ended, run_bounded
from kit.models.adapter import Adapter

if TYPE_CHECKING:
    from torch import Tensor

# Relative: another order of summation, on another machine, changes a figure by less.
_ROUNDING = 1e-6
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_SECONDS = 600.0
_REFUSED = 4  # the child's exit code for an UntrustedError


def measuring_again(logs: Logs) -> Future[Ended]:
    """Begin to measure the comparison in `logs` again, in a process of its own."""
    command = [sys.executable, "-m", "kit.evidence.remeasured", str(logs.folder.absolute())]
    return in_background(lambda: run_bounded(command, _SECONDS))


def believe(measured: Future[Ended]) -> None:
    """Wait for the end of it. Raises UntrustedError where a figure is not that of the tensors; a process
    that could not measure (it has no torch) is told of, and proves nothing."""
    ended = measured.result()
    last = (ended.err.strip().splitlines() or [ended.how()])[-1]
    if ended.code == _REFUSED:
        raise UntrustedError(last)
    if ended.code != 0:
        log.warning(f"the figures were not measured again from the tensors: {last}")


def check_measured(logs: Logs) -> None:
    """Measure everything again that the saved tensors tell of. Raises UntrustedError where a tensor is
    not the recorded one, or a figure not that of the tensors; UsageError where nothing was compared."""
    summary = read_summary(logs)
    if summary.outputs is None or summary.reference is None:
        return
    record = read_record(logs)
    adapter, run = read_adapter(logs, record), finished(record)
    device = read_tensors(logs, OUTPUTS, run.outputs)
    reference = read_tensors(logs, REFERENCE, summary.reference.outputs)
    claims = (
        *_outputs(logs, adapter, run, summary, summary.reference, reference, device),
        *_charts(read_charts(logs), reference, device),
        *_samples(logs, run, summary, adapter.outputs),
    )
    for name, told, found in claims:
        if different := next(_differences(told, found, name), None):
            raise UntrustedError(f"{different} is not what the saved outputs give: {AGAIN}")


Claims = Iterator[tuple[str, Any, Any]]


def _outputs(
    logs: Logs,
    adapter: Adapter,
    run: FinishedRun,
    summary: Summary,
    saved: SavedReference,
    reference: dict[str, Tensor],
    device: dict[str, Tensor],
) -> Claims:
    from kit.accuracy.comparison import Reference, compare

    golden = saved.golden.outputs
    found = compare(
        judged_outputs(adapter.outputs, run.weights),
        Reference(
            outputs=reference,
            repeats=(summary.noise.reference_repeat if summary.noise else None) or {},
            golden=read_tensors(logs, GOLDEN, golden) if golden else {},
            golden_reason=saved.golden.reason,
        ),
        device,
        device_repeats(run.noise),
        summary.samples,
    )
    for name, output in (summary.outputs or {}).items():
        ours = found.outputs[name]
        yield f"outputs.{name}.verdict in {SUMMARY}", output.verdict, ours.verdict
        for section in ("metrics", "truth", "within_1_percent", "blank"):
            told, measured = (written(getattr(each, section)) for each in (output, ours))
            yield f"outputs.{name}.{section} in {SUMMARY}", told, measured


def _charts(
    charts: Charts | None, reference: dict[str, Tensor], device: dict[str, Tensor]
) -> Claims:
    from kit.accuracy.distribution import distribution
    from kit.accuracy.ranking import top5_of_both

    if charts is None:
        return
    for name, drawn in charts.outputs.items():
        if name in reference and name in device:
            for figure, value in asdict(distribution(reference[name], device[name])).items():
                yield f"outputs.{name}.{figure} in {CHARTS}", getattr(drawn, figure), value
    if (top5 := charts.top5) and top5.output in reference and top5.output in device:
        labels = {each.index: each.label for each in top5.classes if each.label}
        both = top5_of_both(reference[top5.output], device[top5.output], labels)
        yield f"top5 in {CHARTS}", written(top5.classes), both


def _samples(logs: Logs, run: FinishedRun, summary: Summary, specs: Any) -> Claims:
    from kit.accuracy.sample_verdicts import judge_samples
    from kit.evidence.sample_files import read_samples
    from kit.evidence.summary import ranked_output

    if summary.samples is None or run.samples is None or summary.reference is None:
        return
    names = [entry.name for entry in run.samples.inputs]
    sides = (read_samples(logs, files) for files in (summary.reference.samples, run.samples.files))
    lines: list[Any] = []
    found = judge_samples(
        specs,
        zip(names, *sides, strict=True),
        run.samples.device_repeat,
        ranked=ranked_output(run.model),
        tell=lambda line: lines.append(written(line)),
    )
    yield f"samples in {SUMMARY}", written(summary.samples), written(found)
    try:
        told = logs.path(SAMPLE_FIGURES).read_text("utf-8").splitlines()
        yield SAMPLE_FIGURES, [json.loads(line) for line in told], lines
    except (OSError, ValueError, RecursionError) as error:
        raise UntrustedError(f"{SAMPLE_FIGURES} is damaged ({error}): {AGAIN}") from error


def _differences(told: Any, found: Any, name: str) -> Iterator[str]:
    """Dotted names of what differs by more than rounding."""
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
    elif told != found:
        yield name


if __name__ == "__main__":
    try:
        check_measured(Logs(Path(sys.argv[1])))
    except UntrustedError as refusal:
        print(refusal.message, file=sys.stderr)
        raise SystemExit(_REFUSED) from None
