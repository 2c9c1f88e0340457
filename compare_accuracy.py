"""Judge a run of inference.py against the CPU.

Reads the record in logs/, rebuilds the same weights, refuses to go on where a fingerprint of weights or
inputs differs, runs the same input on the CPU, and writes accuracy_compare.log and summary.json with
the verdict: PASS, FAIL, SELF_CHECK (the device was a CPU too) or INVALID. It may run on another machine
than the NPU's.

    python compare_accuracy.py
    python compare_accuracy.py --logs logs --weights model.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kit.accuracy.comparison import compare, comparison_text
from kit.devices import select_device
from kit.entry import run_script
from kit.errors import UsageError
from kit.evidence import (
    check_input,
    check_weights,
    distrust_on_record,
    find_weights_again,
    read_adapter,
    read_record,
    read_tensors,
    write_summary,
)
from kit.logs import COMPARE_LOG, INPUTS, OUTPUTS, RUN_LOG, claim_logs, log
from kit.summary import summarise

EXIT_CODES = {"PASS": 0, "SELF_CHECK": 0, "FAIL": 1, "INVALID": 4}


def main() -> int:
    """The story of a comparison. Returns the exit code; raises KitError."""
    options = parse_arguments()
    if not options.logs.is_dir():
        raise UsageError(f"--logs {options.logs}: there is no such folder; run inference.py first")
    with claim_logs(options.logs) as logs, logs.logging_to(RUN_LOG), distrust_on_record(logs):
        record = read_record(logs)
        # An earlier verdict ends here: whatever happens next, it does not stand for this comparison.
        write_summary(logs, summarise(record))
        logs.discard(COMPARE_LOG)
        adapter = read_adapter(record)

        reference_device = select_device("cpu")
        log.info(f"reference {reference_device.spec} ({reference_device.name}), float32")
        from kit.run.reference import run_reference
        from kit.weights.load import load_weights

        inputs = read_tensors(logs, INPUTS, record["input"]["tensors"])
        check_input(inputs, record)
        on_device = read_tensors(logs, OUTPUTS, record["outputs"])
        weights = find_weights_again(logs, adapter, record, options.weights)
        model = adapter.build()
        loaded = load_weights(adapter, model, weights, seed=record["weights"]["seed"] or 0)
        check_weights(loaded.fingerprint, record)

        reference = run_reference(adapter, model, inputs)
        again = run_reference(adapter, model, inputs)
        comparison = compare(
            adapter.outputs, reference, again, on_device, record["noise"]["device_repeat"]
        )
        summary = summarise(record, comparison)
        write_summary(logs, summary)
        logs.write_text(COMPARE_LOG, comparison_text(summary))
        tell(summary)
    return EXIT_CODES[summary["verdict"]]


def tell(summary: dict[str, Any]) -> None:
    """The verdict and its reasons on the console."""
    log.info(f"input and weights are those of the run; outputs of {summary['device']} against cpu:")
    for name, output in summary["outputs"].items():
        log.info(f"  {output['verdict']:7} {name}: {'; '.join(output['reasons'])}")
    log.info(f"verdict {summary['verdict']}")
    for blocker in summary["submission_blockers"]:
        log.info(f"  not ready for submission: {blocker}")


def parse_arguments() -> argparse.Namespace:
    """The command line; ends the process with exit code 2 where it is wrong."""
    description, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--logs", type=Path, default=Path("logs"), metavar="DIR", help="of the run (default: logs)"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="the run's weights file, where it lies elsewhere on this machine",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
