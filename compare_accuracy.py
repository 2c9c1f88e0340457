"""Judge a run of inference.py against the CPU.

Reads the record in logs/, rebuilds the same weights, refuses to go on where a fingerprint of weights or
inputs differs, runs the same input on the CPU, and writes accuracy_compare.log, charts.json and
summary.json with the verdict: PASS, FAIL, SELF_CHECK (the device was a CPU too) or INVALID; then
report.md and report.html, of them alone. An earlier comparison stands until this one is finished. It may
run on another machine than the NPU's. With --data, every further sample is run and judged too
(samples.jsonl). The reference's outputs stay in logs/: --rejudge judges them again, by today's
thresholds, without running a model. --localize, where the run's device is, names the first module whose own
error the device's arithmetic does not explain (layers.csv: every module; wrong_operator/: the operator).

    python compare_accuracy.py
    python compare_accuracy.py --logs logs --weights model.safetensors
    python compare_accuracy.py --localize
"""

import kit.start  # noqa: F401, I001  (first: Ctrl-C ends what follows)

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kit.accuracy.spec import describe_roles
from kit.devices import select_device
from kit.entry import parser_of, run_script, tell_result
from kit.errors import UsageError
from kit.evidence.comparison_log import comparison_text, what_was_found
from kit.evidence.documents import read_record
from kit.evidence.handover import (
    check_heads,
    check_input,
    check_weights,
    distrust_on_record,
    find_weights_again,
    finished,
    local_path,
    read_adapter,
    read_tensors,
    write_summary,
)
from kit.evidence.left_out import judged_outputs
from kit.evidence.logs import (
    COMPARE_LOG,
    INPUTS,
    OUTPUTS,
    RUN_LOG,
    SUMMARY,
    Logs,
    claim_logs,
    log,
)
from kit.evidence.summary import summarise
from kit.evidence.types.run import FinishedRun
from kit.evidence.types.shared import Shard
from kit.evidence.types.summary import SavedReference, Summary
from kit.models.adapter import Adapter

if TYPE_CHECKING:
    from kit.accuracy.comparison import Reference

EXIT_CODES = {"PASS": 0, "SELF_CHECK": 0, "FAIL": 1, "INVALID": 4}


def main() -> int:
    """The story of a comparison. Returns the exit code; raises KitError."""
    options = parse_arguments()
    if not options.logs.is_dir():
        raise UsageError(f"--logs {options.logs}: there is no such folder; run inference.py first")
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


def compare_run(options: argparse.Namespace, logs: Logs) -> Summary:
    """From the record to the verdict, which is written, told and returned; raises KitError."""
    from kit.accuracy.comparison import compare
    from kit.evidence.charts import write_charts
    from kit.evidence.reading import check_evidence
    from kit.evidence.reference import adopt_reference
    from kit.evidence.sample_files import judge_saved_samples
    from kit.evidence.trust import device_repeats
    from kit.explain.locate_run import device_of, locate_run

    with distrust_on_record(logs):
        record = read_record(logs)
        adapter = read_adapter(logs, record)
        run = finished(record)
        on_device = read_tensors(logs, OUTPUTS, run.outputs)
        device = device_of(run) if options.localize else None

        with logs.replacing_comparison() as new:
            if options.rejudge:
                reference, saved = adopt_reference(logs, new)
            else:
                reference, saved = run_reference(options, logs, new, adapter, run)
            samples = judge_saved_samples(logs, new, adapter, run, saved.samples)
            repeats = device_repeats(run.noise)
            specs = judged_outputs(adapter.outputs, run.weights)
            hf32 = run.precision.hf32
            comparison = compare(specs, reference, on_device, repeats, samples, hf32=hf32)
            summary = summarise(run, comparison, saved)
            check_evidence(logs, run, summary)  # what readers would refuse is not told as a verdict
            write_summary(new, summary)
            located = locate_run(options.weights, logs, new, adapter, run, device) if device else ""
            new.write_text(COMPARE_LOG, comparison_text(summary) + located)
            sides = (reference.outputs, on_device, reference.golden)
            write_charts(logs, new, adapter, run, summary, *sides)
        tell(summary)
    return summary


def run_reference(
    options: argparse.Namespace, logs: Logs, new: Logs, adapter: Adapter, run: FinishedRun
) -> tuple["Reference", SavedReference]:
    """The same weights and the same input on the CPU; the outputs are saved in `new`. Raises KitError
    where weights or input are not the same."""
    device = select_device("cpu")
    log.info(f"reference {device.spec} ({device.name}), float32")
    from kit.evidence.reference import save_reference
    from kit.evidence.sample_files import check_shards
    from kit.run.heads import outputs_of_heads
    from kit.run.reference import run_references
    from kit.run.samples import find_samples_again, run_reference_samples
    from kit.weights.load import load_weights
    from kit.weights.sources import companions

    inputs = read_tensors(logs, INPUTS, run.input.tensors)
    check_input(inputs, run.input)
    check_shards(logs, run)
    samples = find_samples_again(adapter, run, options.data or local_path(logs, "data"))
    paths = find_weights_again(logs, adapter, run.weights, options.weights)
    model = adapter.build()
    seed = run.arguments.seed if run.weights.seed is None else run.weights.seed
    loaded = load_weights(adapter, model, paths, seed=seed)
    check_weights(loaded.fingerprint, run.weights)
    check_heads(outputs_of_heads(adapter, model, loaded.account, inputs, seed), run.weights)
    reference = run_references(adapter, model, inputs, options.golden)
    files: list[Shard] = []
    if run.samples:
        at_hand = companions(adapter.info, paths[0].parent if paths else None)
        files = run_reference_samples(adapter, model, samples, at_hand, new, run.samples)
    saved = save_reference(new, reference, files, describe_roles(adapter.outputs))
    return reference, saved


def tell(summary: Summary) -> None:
    """The verdict and its reasons on the console."""
    log.info("input and weights are those of the run")
    log.info(f"outputs of {summary.device} against cpu:")
    for line in what_was_found(summary):
        log.info(f"  {line}")
    log.info(f"verdict {summary.verdict}")
    for blocker in summary.submission_blockers:
        log.info(f"  not ready for submission: {blocker}")


def parse_arguments() -> argparse.Namespace:
    """The command line; ends the process with exit code 2 where it is wrong."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--logs", type=Path, default=Path("logs"), metavar="DIR", help="of the run (default: logs)"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="the run's weights file, where it lies elsewhere on this machine",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR|FILE",
        help="the run's --data, where it lies elsewhere on this machine",
    )
    parser.add_argument(
        "--golden",
        choices=("auto", "on", "off"),
        default="auto",
        help="the fp64 truth beside the fp32 reference (default: auto, where memory holds it)",
    )
    how = parser.add_mutually_exclusive_group()
    for name, help_text in (
        ("--rejudge", "judge the saved outputs again; runs no model"),
        ("--localize", "find the first bad module, on the run's device"),
    ):
        how.add_argument(name, action="store_true", help=help_text)
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
