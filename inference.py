"""Run a model on an NPU (or a GPU, or the CPU) and record what it did.

Loads the published weights, or says why not and builds the same architecture at random; runs the
forward on the device; proves where everything was; times it. Writes into logs/: run.json and
summary.json (verdict NOT_COMPARED until compare_accuracy.py has judged it), inputs.safetensors,
outputs.safetensors, run_npu.log and pretrained_attempt.log; with --data, the outputs of every sample of
it into samples/; with --localize, what every module call took and gave into module_calls.safetensors. An
earlier run moves to logs/history/.

    python inference.py
    python inference.py --model vit_tiny_patch16_224 --device npu:0 --require-pretrained
    python inference.py --offline --weights model.safetensors
    python inference.py --model vit_tiny_patch16_224 --data photos/ --samples 500
"""

import kit.machine.interrupts  # noqa: I001  (first: Ctrl-C ends what follows)
import kit.machine.installed  # noqa: F401

from functools import partial

from kit.accuracy.spec import describe_roles
from kit.devices import select_device
from kit.entry import quoted, run_script, tell_result
from kit.errors import CannotRunError
from kit.evidence.handover import finished
from kit.evidence.logs import INPUTS, OUTPUTS, RECORD, RUNTIME_STDERR, Logs, claim_logs, log
from kit.evidence.types.run import FinishedRun
from kit.evidence.record import RunRecord, recorded_run
from kit.machine.background import LogGate, in_background
from kit.machine.environment import describe_environment
from kit.models.adapter import Adapter
from kit.run.options import RunOptions, parse_options
from kit.run.named_samples import Sample, check_value, choose_samples, load_sample
from kit.run.samples import run_samples
from kit.weights.endpoints import mirror_list
from kit.weights.find_model import find_model
from kit.weights.sources import check_explicit, locate
from kit.words import Reason


def main() -> int:
    """Run what the command line asks for. Returns the exit code; raises KitError."""
    options = parse_options(__doc__)
    ended = run(options)
    log.info(f"done: judge it with python compare_accuracy.py --logs {quoted(options.logs)}")
    tell_result(
        status=ended.status,
        device=ended.device.spec,
        pretrained_used=ended.weights.pretrained_used,
        record=options.logs / RECORD,
    )
    return 0


def run(options: RunOptions) -> FinishedRun:
    """Check what needs no model, then measure; the record goes into logs/. Raises KitError."""
    mirrors = mirror_list(options.mirror)
    adapter = find_model(
        options.model,
        revision=options.revision,
        offline=options.offline,
        mirrors=mirrors,
        log=log.info,
    )
    if options.attention:
        adapter = adapter.with_attention(options.attention)
    check_value(adapter, options.input, "--input")
    if options.weights:
        check_explicit(options.weights, adapter.info)
    samples = choose_samples(adapter, options.data, options.samples)

    arguments = options.recorded()
    with claim_logs(options.logs) as logs, recorded_run(logs, adapter, arguments) as record:
        measure(options, adapter, samples, mirrors, logs, record)
    return finished(record.run)


def measure(
    options: RunOptions,
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
            beside=adapter.own_folder,
            offline=options.offline,
            mirrors=mirrors,
            timeout=options.download_timeout,
            to_load=True,
            log=gate.log,
        )
    )
    device = select_device(options.device, options.precision)
    gate.open(f"device {device.spec} ({device.name}): {device.reason}")
    record.add_device(device, device.set_precision(options.precision), describe_environment())

    # Heavy imports come only now, after select_device() has made a broken torch_npu harmless.
    import torch

    from kit.explain.battery import probe_arithmetic
    from kit.explain.recording import record_calls
    from kit.run.fallback import watch_fallbacks
    from kit.run.heads import outputs_of_heads
    from kit.run.passes import run_passes, to_device
    from kit.run.placement import move, prove_place
    from kit.weights.casting import cast_weights
    from kit.weights.load import load_weights

    model = adapter.build()
    adapter = adapter.as_built(model)
    found = search.result()
    record.add_search(found, adapter.own_folder)
    if found.file is None and options.require_pretrained:
        raise CannotRunError(
            Reason("required", why=found.not_found),
            Reason("pass_them"),
        )
    if samples:  # a tokenizer that is not at hand ends the run here, not after its passes
        load_sample(adapter, samples[0], found.companions)
    paths = found.file.paths if found.file else []
    loaded = load_weights(adapter, model, paths, seed=options.seed)
    record.add_weights(found, loaded, seed=options.seed)
    chosen = adapter.traced(model, adapter.load_input(options.input, found.companions))
    record.add_input(chosen)
    record.add_random_heads(
        outputs_of_heads(adapter, model, loaded.account, chosen.tensors, options.seed)
    )
    logs.write_tensors(INPUTS, chosen.tensors)

    dtype = getattr(torch, options.dtype)
    cast = cast_weights(model, dtype)
    record.add_cast(cast)
    # An operator tells of its fallback once a process, wherever that is: from here on all is watched.
    with watch_fallbacks(device.kind, logs.path(RUNTIME_STDERR)) as fallbacks:
        on_device = move(model, loaded.tied, device, cast, loaded.fingerprint)
        passes = run_passes(
            adapter,
            model,
            to_device(chosen.tensors, device, dtype),
            device,
            warmup=options.warmup,
            iterations=options.iterations,
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in passes.outputs.items()}
    adapter = adapter.with_outputs(shapes)
    record.add_model(adapter)
    for file in found.file.files if found.file else ():
        file.check_unchanged()  # the CPU reads a mapped file whenever it needs a page of it
    record.add_proof(
        prove_place(model, passes, device, weights_fingerprint=on_device, fallbacks=fallbacks)
    )
    if samples and options.data:
        size = options.batch_size
        section = run_samples(
            adapter, model, samples, found.companions, device, dtype, logs, batch_size=size
        )
        record.add_samples(section, options.data)
    record.add_arithmetic(probe_arithmetic(device, options.dtype))
    kept = model if options.localize else None
    del model  # writing the record then adds nothing to the peak memory of a run
    outputs = {name: tensor.cpu() for name, tensor in passes.outputs.items()}
    logs.write_tensors(OUTPUTS, outputs, describe_roles(adapter.outputs))
    record.add_results(
        outputs,
        adapter.describe(outputs, found.companions),
        noise=passes.noise(outputs),
        latency=passes.latency,
    )
    if kept is not None and options.localize:
        record.end("SUCCESS")  # whatever becomes of one more forward
        record.add_module_calls(
            record_calls(
                adapter,
                kept,
                to_device(chosen.tensors, device, dtype),
                device,
                logs,
                dtype=dtype,
                most_mib=options.localize,
            )
        )


if __name__ == "__main__":
    run_script(main)
