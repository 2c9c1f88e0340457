"""Judge a run of inference.py against the CPU.

Reads the record in logs/, rebuilds the same weights, refuses to go on where a fingerprint of weights or
inputs differs, runs the same input on the CPU, explains the difference by emulating there what the device
may do to fp32, and writes accuracy_compare.log, charts.json and summary.json with the verdict: PASS,
FAIL, SELF_CHECK (the device was a CPU too) or INVALID; then report.md and report.html, of them alone. An
earlier comparison stands until this one is finished. It may run on another machine than the NPU's. With
--data, every further sample is run and judged too (samples.jsonl). The reference's outputs stay in logs/:
--rejudge judges them again, by today's thresholds, without running a model. --localize, where the run's
device is or inference.py --localize has recorded it, names the first module whose own error the device's
arithmetic does not explain (layers.csv: every module; wrong_operator/, on the device: the operator).

    python compare_accuracy.py
    python compare_accuracy.py --logs logs --weights model.safetensors
    python compare_accuracy.py --localize
"""

import kit.machine.interrupts  # noqa: I001  (first: Ctrl-C ends what follows)
import kit.machine.installed  # noqa: F401

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.accuracy.spec import describe_roles
from kit.devices import select_device
from kit.entry import run_script, tell_result
from kit.errors import UsageError
from kit.evidence.comparison_log import comparison_text, what_was_found
from kit.evidence.documents import read_record
from kit.evidence.handover import (
    distrust_on_record,
    finished,
    local_path,
    read_adapter,
    read_tensors,
    write_summary,
)
from kit.evidence.left_out import judged_outputs
from kit.evidence.logs import (
    COMPARE_LOG,
    OUTPUTS,
    RUN_LOG,
    SUMMARY,
    Logs,
    claim_logs,
    log,
)
from kit.evidence.summary import summarise
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.run import FinishedRun
from kit.evidence.types.shared import Shard
from kit.evidence.types.summary import SavedReference, Summary
from kit.machine.variables import LIBRARIES, check_numbers
from kit.models.adapter import Adapter
from kit.run.compare_options import CompareOptions, parse_compare_options
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

    from kit.accuracy.comparison import Reference
    from kit.run.reference import LoadedRun

EXIT_CODES = {"PASS": 0, "SELF_CHECK": 0, "FAIL": 1, "INVALID": 4}


def main() -> int:
    """The story of a comparison. Returns the exit code; raises KitError."""
    options = parse_compare_options(__doc__)
    check_numbers(*LIBRARIES)
    if not options.logs.is_dir():
        raise UsageError(
            f"--logs {options.logs}: there is no such folder", "run inference.py first"
        )
    # Heavy imports come only now: --help and a wrong argument need none of them.
    from kit.report.command import reported

    with claim_logs(options.logs) as logs, logs.logging_to(RUN_LOG), reported(logs):
        summary = compare_run(options, logs)
    tell_result(
        verdict=summary.verdict,
        submission_ready=summary.submission_ready,
        summary=options.logs / SUMMARY,
    )
    return EXIT_CODES[summary.verdict]


def compare_run(options: CompareOptions, logs: Logs) -> Summary:
    """From the record to the verdict, which is written, told and returned; raises KitError."""
    from kit.accuracy.comparison import compare
    from kit.evidence.charts import write_charts
    from kit.evidence.reading import check_evidence
    from kit.evidence.reference import adopt_reference
    from kit.evidence.sample_files import judge_saved_samples
    from kit.evidence.trust import device_repeats
    from kit.explain.locate_run import judging, locate_run, source_of

    with distrust_on_record(logs):
        record = read_record(logs)
        adapter = read_adapter(logs, record)
        run = finished(record)
        on_device = read_tensors(logs, OUTPUTS, run.outputs)
        source = source_of(logs, run) if options.localize else None

        with logs.replacing_comparison() as new:
            again = None
            if options.rejudge:
                reference, saved, explained = adopt_reference(logs, new)
            else:
                again, reference, saved, explained = run_reference(
                    options, logs, new, adapter, run, on_device
                )
            samples = judge_saved_samples(logs, new, adapter, run, saved.samples)
            repeats = device_repeats(run.noise)
            specs = judged_outputs(adapter.outputs, run.weights)
            hf32, dtype = run.precision.hf32, run.arguments.dtype
            comparison = compare(
                specs, reference, on_device, repeats, samples, hf32=hf32, dtype=dtype
            )
            if source and again and explained:
                judged = judging(specs, reference, repeats, dtype)
                explained = locate_run(
                    explained, new, adapter, run, again, source, comparison.verdict, judged
                )
            summary = summarise(run, comparison, saved, explained)
            check_evidence(logs, run, summary)  # what readers would refuse is not told as a verdict
            write_summary(new, summary)
            new.write_text(COMPARE_LOG, comparison_text(summary, new))
            sides = (reference.outputs, on_device, reference.golden)
            write_charts(logs, new, adapter, run, summary, *sides)
        tell(summary)
    return summary


def run_reference(
    options: CompareOptions,
    logs: Logs,
    new: Logs,
    adapter: Adapter,
    run: FinishedRun,
    on_device: Mapping[str, "Tensor"],
) -> tuple["LoadedRun", "Reference", SavedReference, Explanation | Reason]:
    """The same weights and the same input on the CPU, and what explains the device's outputs beside
    them; the reference's are saved in `new`. Raises KitError where weights or input are not the same."""
    began = time.monotonic()
    device = select_device("cpu")
    log.info(f"reference {device.spec} ({device.name}), float32")
    from kit.evidence.reference import save_reference
    from kit.evidence.sample_files import check_shards
    from kit.explain.explain import explain
    from kit.run.named_samples import find_samples_again
    from kit.run.reference import load_run, run_references
    from kit.run.samples import run_reference_samples
    from kit.weights.sources import companions

    check_shards(logs, run)
    samples = find_samples_again(adapter, run, options.data or local_path(logs, "data"))
    again = load_run(logs, adapter, run, options.weights)
    reference = run_references(adapter, again.model, again.inputs, options.golden)
    spent = time.monotonic() - began
    explained = explain(adapter, again, run, reference, on_device, options.explain, spent=spent)
    files: list[Shard] = []
    if run.samples:
        beside = again.paths[0].parent if again.paths else None
        at_hand = companions(adapter.info, beside, local_path(logs, "model"))
        files = run_reference_samples(adapter, again.model, samples, at_hand, new, run.samples)
    saved = save_reference(new, reference, files, describe_roles(adapter.outputs))
    return again, reference, saved, explained


def tell(summary: Summary) -> None:
    """The verdict and its reasons on the console."""
    log.info("input and weights are those of the run")
    log.info(f"outputs of {summary.device} against cpu:")
    for line in what_was_found(summary):
        log.info(f"  {line}")
    log.info(f"verdict {summary.verdict}")
    for blocker in summary.submission_blockers:
        log.info(f"  not ready for submission: {blocker}")


if __name__ == "__main__":
    run_script(main)
