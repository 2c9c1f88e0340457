"""The run of every sample of --data, on the device and on the CPU.

Inputs are loaded, run and let go batch by batch, and outputs go to disk as they come: memory does not
grow with the number of samples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.devices import Device
from kit.errors import CannotRunError, UntrustedError, UsageError
from kit.evidence.logs import RUNTIME_STDERR, Logs
from kit.evidence.types.run import RecordedSamples, SampleInput
from kit.evidence.types.shared import Shard
from kit.models.adapter import Adapter
from kit.run.fallback import FallbackWatch, watch_fallbacks
from kit.run.named_samples import Sample, load_sample
from kit.weights.progress import counted
from kit.words import Reason

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

log = logging.getLogger("kit")


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Samples that go through one forward; `tensors` have one row for each."""

    names: Sequence[str]
    fingerprints: Sequence[str]
    tensors: Mapping[str, Tensor]


def run_samples(
    adapter: Adapter,
    model: nn.Module,
    samples: Sequence[Sample],
    companions: Mapping[str, Path],
    device: Device,
    dtype: torch.dtype,
    logs: Logs,
    *,
    batch_size: int,
) -> RecordedSamples:
    """Run every sample on the device and stream its outputs to disk. Returns the record's section.

    The first batch runs twice: repeatability is not worth twice the time of all of them. Raises
    UntrustedError where an output is not on the device.
    """
    from kit.accuracy.repeats import compare_runs
    from kit.evidence.sample_files import DEVICE, SampleWriter
    from kit.run.passes import to_device

    size = 1 if adapter.samples == "texts" else batch_size
    writer = SampleWriter(logs, DEVICE)
    inputs: list[SampleInput] = []
    repeats = None
    fallbacks = FallbackWatch(ops=[], reason=None)
    for batch in _batches(adapter, samples, companions, size):
        on_device = to_device(batch.tensors, device, dtype)
        # Another shape, another text's length: an operator may fall back here that did not before.
        with watch_fallbacks(device.kind, logs.path(RUNTIME_STDERR)) as watch:
            outputs = _forward(adapter, model, on_device, device.spec)
        fallbacks = fallbacks.with_those_of(watch)
        if repeats is None:
            repeats = compare_runs(outputs, _forward(adapter, model, on_device, device.spec))
        for name, digest, row in zip(
            batch.names, batch.fingerprints, _rows(outputs, len(batch.names)), strict=True
        ):
            inputs.append(SampleInput(name=name, fingerprint=digest))
            writer.add(row)
    return RecordedSamples(
        count=len(inputs),
        batch_size=size,
        inputs=inputs,
        files=writer.finish(),
        device_repeat=repeats or {},
        fallback_ops=fallbacks.ops,
        fallback_reason=fallbacks.reason,
    )


def run_reference_samples(
    adapter: Adapter,
    model: nn.Module,
    samples: Sequence[Sample],
    companions: Mapping[str, Path],
    logs: Logs,
    recorded: RecordedSamples,
) -> list[Shard]:
    """The same samples in the same batches on the CPU, in fp32 (`model` may come in fp64). Returns the
    files that hold the outputs.

    Raises UsageError where a sample's input is not the one that the device was fed.
    """
    from kit.evidence.sample_files import REFERENCE, SampleWriter

    model.float()
    fed = {entry.name: entry.fingerprint for entry in recorded.inputs}
    writer = SampleWriter(logs, REFERENCE)
    for batch in _batches(adapter, samples, companions, recorded.batch_size):
        for name, found in zip(batch.names, batch.fingerprints, strict=True):
            if found != fed[name]:
                raise UsageError(
                    f"the input of sample {name!r} is not the one that the device was fed "
                    f"({found[:12]}... is not {fed[name][:12]}...)",
                    "give the same samples with --data PATH, or run inference.py again",
                )
        for row in _rows(_forward(adapter, model, batch.tensors, "cpu"), len(batch.names)):
            writer.add(row)
    return writer.finish()


def _batches(
    adapter: Adapter, samples: Sequence[Sample], companions: Mapping[str, Path], size: int
) -> Iterator[_Batch]:
    import torch

    from kit.storage.fingerprint import fingerprint

    starts = range(0, len(samples), size)
    for start in counted("batches of samples", starts, len(starts), log.info):
        part = samples[start : start + size]
        loaded = [load_sample(adapter, sample, companions) for sample in part]
        yield _Batch(
            names=[sample.name for sample in part],
            fingerprints=[fingerprint(tensors) for tensors in loaded],
            tensors={name: torch.cat([each[name] for each in loaded]) for name in loaded[0]},
        )


def _forward(
    adapter: Adapter, model: nn.Module, inputs: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """The outputs of one forward on the CPU, after proof that they were on the device `where`."""
    import torch

    with torch.inference_mode():
        outputs = adapter.forward(model, inputs)
    for name, output in outputs.items():
        if str(output.device) != where:
            raise UntrustedError(
                Reason("sample_elsewhere", output=name, device=str(output.device)),
                Reason("stay_on_device"),
            )
    return {name: output.cpu() for name, output in outputs.items()}


def _rows(outputs: Mapping[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The outputs of each of `count` samples, which keep a leading dimension of 1."""
    if count == 1:
        yield dict(outputs)
        return
    for name, output in outputs.items():
        if output.dim() == 0 or output.shape[0] != count:
            raise CannotRunError(
                Reason("sample_shape", output=name, count=count, shape=str(list(output.shape))),
                Reason("one_by_one"),
            )
    for row in range(count):
        # Copies: a view would hold the whole batch in memory until its shard is written.
        yield {name: output[row : row + 1].clone() for name, output in outputs.items()}
