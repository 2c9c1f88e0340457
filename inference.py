"""Run a model on an NPU (or a GPU, or the CPU) and record what it did.

Loads the published weights, or says why not and builds the same architecture at random; runs the
forward on the device; proves where everything was; times it. Writes into logs/: run.json and
summary.json (verdict NOT_COMPARED until compare_accuracy.py has judged it), inputs.safetensors,
outputs.safetensors, run_npu.log and pretrained_attempt.log; with --data, the outputs of every sample of
it into samples/. An earlier run moves to logs/history/.

    python inference.py
    python inference.py --model vit_tiny_patch16_224 --device npu:0 --require-pretrained
    python inference.py --offline --weights model.safetensors
    python inference.py --model vit_tiny_patch16_224 --data photos/ --samples 500
"""

import kit.start  # noqa: F401, I001  (first: Ctrl-C ends what follows)

import argparse
from functools import partial
from pathlib import Path

from kit.accuracy.spec import describe_roles
from kit.devices import PRECISIONS, check_device_name, select_device
from kit.entry import at_least, parser_of, run_script, tell_result
from kit.errors import CannotRunError
from kit.evidence.handover import finished
from kit.evidence.logs import FIRST_PASS, INPUTS, OUTPUTS, RECORD, Logs, claim_logs, log
from kit.evidence.record import RunRecord, recorded_run
from kit.machine.background import LogGate, in_background
from kit.models.adapter import Adapter
from kit.models.known import model_names
from kit.run.samples import Sample, add_sample_arguments, choose_samples, load_sample, run_samples
from kit.weights.arguments import add_download_arguments
from kit.weights.endpoints import mirror_list
from kit.weights.find_model import find_model
from kit.weights.sources import check_explicit, locate

DTYPES = ("float32", "float16", "bfloat16")


def main() -> int:
    """Check what needs no model, then run. Returns the exit code; raises KitError."""
    options = parse_arguments()
    mirrors = mirror_list(options.mirror)
    adapter = find_model(options.model, offline=options.offline, mirrors=mirrors, log=log.info)
    adapter.check_input(options.input)
    if options.weights:
        check_explicit(options.weights, adapter.info)
    samples = choose_samples(adapter, options)

    with claim_logs(options.logs) as logs, recorded_run(logs, adapter, options) as record:
        run(options, adapter, samples, mirrors, logs, record)
    log.info(f"done: judge it with python compare_accuracy.py --logs {options.logs}")
    ended = finished(record.run)
    tell_result(
        status=ended.status,
        device=ended.device.spec,
        pretrained_used=ended.weights.pretrained_used,
        record=options.logs / RECORD,
    )
    return 0


def run(
    options: argparse.Namespace,
    adapter: Adapter,
    samples: list[Sample],
    mirrors: tuple[str, ...],
    logs: Logs,
    record: RunRecord,
) -> None:
    """From the weights to the outputs; each step goes on record. Raises KitError."""
    # The weights are looked for, fetched and hashed while this thread imports the libraries.
    gate = LogGate()
    search = in_background(
        partial(
            locate,
            adapter.info,
            path=options.weights or adapter.weights_at,
            offline=options.offline,
            mirrors=mirrors,
            timeout=options.download_timeout,
            to_load=True,
            log=gate.log,
        )
    )
    device = select_device(options.device, options.precision)
    gate.open(f"device {device.spec} ({device.name}): {device.reason}")
    record.device(device, device.set_precision(options.precision))

    # Heavy imports come only now, after select_device() has made a broken torch_npu harmless.
    import torch

    from kit.run.heads import outputs_of_heads
    from kit.run.passes import run_passes, to_device
    from kit.run.placement import move, prove_place
    from kit.weights.casting import cast_weights
    from kit.weights.load import load_weights

    model = adapter.build()
    found = search.result()
    record.attempts(found)
    if found.file is None and options.require_pretrained:
        raise CannotRunError(f"--require-pretrained, but there are {found.pretrained_reason}")
    if samples:  # a tokenizer that is not at hand ends the run here, not after its passes
        load_sample(adapter, samples[0], found.companions)
    paths = found.file.paths if found.file else []
    loaded = load_weights(adapter, model, paths, seed=options.seed)
    record.weights(found, loaded, seed=options.seed)
    chosen = adapter.load_input(options.input, found.companions)
    record.input(chosen)
    record.heads(outputs_of_heads(adapter, model, loaded.account, chosen.tensors, options.seed))
    logs.write_tensors(INPUTS, chosen.tensors)

    dtype = getattr(torch, options.dtype)
    record.cast(cast := cast_weights(model, dtype))
    on_device = move(model, loaded.tied, device, cast, loaded.fingerprint)
    passes = run_passes(
        adapter,
        model,
        to_device(chosen.tensors, device, dtype),
        device,
        warmup=options.warmup,
        iterations=options.iterations,
        stderr_capture=logs.path(FIRST_PASS),
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in passes.outputs.items()}
    record.model(adapter := adapter.with_outputs(shapes))
    record.proof(
        prove_place(
            model,
            passes.outputs,
            device,
            weights_fingerprint=on_device,
            fallbacks=passes.fallbacks,
        )
    )
    if samples:
        size = options.batch_size
        section = run_samples(
            adapter, model, samples, found.companions, device, dtype, logs, batch_size=size
        )
        record.samples(section, options.data)
    del model  # writing the record then adds nothing to the peak memory of a run
    outputs = {name: tensor.cpu() for name, tensor in passes.outputs.items()}
    repeated = {name: tensor.cpu() for name, tensor in passes.repeated.items()}
    logs.write_tensors(OUTPUTS, outputs, describe_roles(adapter.outputs))
    record.results(outputs, repeated, passes.latency, adapter.describe(outputs, found.companions))


def parse_arguments() -> argparse.Namespace:
    """The command line; ends the process with exit code 2 where it is wrong."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--model",
        metavar="NAME|HUB_ID|DIR",
        help=f"one of {', '.join(model_names())}; any hub id or timm name; or a folder with config.json",
    )
    parser.add_argument(
        "--device",
        default="auto",
        type=check_device_name,
        metavar="auto|npu:N|cuda:N|cpu",
        help="auto takes an NPU, else a GPU, else the CPU; any other must be there (default: auto)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="a safetensors file, or the folder that holds it",
    )
    parser.add_argument(
        "--require-pretrained", action="store_true", help="fail instead of running random weights"
    )
    parser.add_argument("--offline", action="store_true", help="make no network request")
    add_download_arguments(parser)
    parser.add_argument("--input", metavar="VALUE", help="a text, or an image file")
    add_sample_arguments(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="default",
        help="default: the library's flags; strict: full fp32; fast: HF32/TF32 (default: default)",
    )
    parser.add_argument("--warmup", type=at_least(0), default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--iterations", type=at_least(1), default=20, metavar="N", help="default: 20"
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="of random weights (default: 0)"
    )
    parser.add_argument(
        "--logs", type=Path, default=Path("logs"), metavar="DIR", help="default: logs"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
