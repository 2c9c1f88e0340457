"""What a record says twice must be said alike: a summary follows from these claims."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from kit.evidence.flag_claims import contradicted_flags
from kit.evidence.types.run import ChosenDevice, FinishedRun
from kit.evidence.types.shared import DeviceProof, Weights
from kit.models.adapter import Adapter


def find_contradictions(run: FinishedRun, adapter: Adapter) -> Iterator[str]:
    """Every contradiction in the record of a successful run, each in a few words."""
    yield from _about_the_device(run.device, run.device_proof)
    yield from _about_the_weights(run.weights, adapter)
    # A file of unknown origin may hold half precision, which the run cast to what was asked for.
    as_loaded = run.arguments.dtype == "float32" and all(
        file.hash_origin == "published" for file in run.weights.files
    )
    if as_loaded and run.device_proof.weights_fingerprint != run.weights.fingerprint:
        yield "the weights on the device are others than the loaded ones"
    yield from _about_the_arithmetic(run)
    if run.device_proof.outputs.keys() != run.outputs.keys():
        yield "device_proof is of other outputs"
    if missing := run.outputs.keys() - run.noise.device_repeat.keys():
        yield f"no second run of {', '.join(sorted(missing))}"
    timed = run.noise.timed_repeat.keys()
    if run.model.primary_output not in timed or timed - run.outputs.keys():
        yield "the timed runs are of other outputs"
    yield from _about_samples(run)
    if run.module_calls is not UNSET and run.arguments.localize is UNSET:
        yield "module calls are recorded without --localize"


def _about_the_device(device: ChosenDevice, proof: DeviceProof) -> Iterator[str]:
    if device.spec.partition(":")[0] != device.kind:
        yield f"device {device.spec} is called {device.kind}"
    if device.simulated != proof.simulated:
        yield "the device is simulated in one place and not in another"
    if device.simulated is (device.why_simulated is None):
        yield "the device is simulated without a reason, or not simulated for one"
    places = {*proof.parameters, *proof.buffers, *proof.outputs.values()}
    if places != {device.spec}:
        yield f"the device is {device.spec}, the tensors were on {', '.join(sorted(places))}"


def _about_the_arithmetic(run: FinishedRun) -> Iterator[str]:
    probed = run.device_proof.arithmetic
    if probed is None:
        yield "the device's arithmetic was not probed"
    elif probed.dtype != run.arguments.dtype:
        yield "the device's arithmetic was probed in another dtype"
    elif probed.contradictions != contradicted_flags(run.precision.flags, run.device.name, probed):
        yield "what contradicts the flags does not follow from the probe"


def _about_the_weights(weights: Weights, adapter: Adapter) -> Iterator[str]:
    published, files = set(adapter.info.published.values()), weights.files
    if weights.fallback_used is bool(files) or (weights.seed is None) is not bool(files):
        yield "weights are random and from a file at once"
    if (weights.weight_path is None) is bool(files):
        yield "weight_path does not fit the files"
    if weights.pretrained_used is not _pretrained([file.hash_origin for file in files]):
        yield "pretrained_used does not follow from the files"
    if (weights.contents is None) is bool(files):
        yield "what became of the files' tensors does not fit the files"
    random_heads = weights.contents.initialised if weights.contents else []
    if weights.outputs_of_random_heads and not random_heads:
        yield "outputs are left out of the verdict though the files carry every head"
    if adapter.primary in weights.outputs_of_random_heads:
        yield "the primary output is left out of the verdict"
    for file in files:
        if (file.hash_origin == "published") is not (file.sha256 in published):
            yield f"the sha256 of {file.name} is called {file.hash_origin}"
    info = adapter.info
    counted = (weights.parameters, weights.tensors)
    if (info.parameters, info.tensors) not in (counted, (None, None)):
        yield "the weights are of another size than the model's"


def _about_samples(run: FinishedRun) -> Iterator[str]:
    samples = run.samples
    if (samples is None) is not (run.arguments.data is None):
        yield "samples and --data are not there together"
    elif samples is not None:
        stored = sum(file.samples for file in samples.files)
        if not samples.count == stored == len({entry.name for entry in samples.inputs}):
            yield "the samples are of several counts"


def _pretrained(origins: list[str]) -> bool | None:
    if not origins:
        return False
    return None if "computed" in origins else True
