"""The outputs of many samples in logs/samples/: written as they come, read back one sample at a time.

Both sides lie there in shards, <side>-00000.safetensors and on, whose tensors are called
<number of the sample>.<output>; so they can be judged again without running a model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.accuracy.judged_samples import JudgedSamples
from kit.accuracy.sample_verdicts import judge_samples
from kit.accuracy.spec import OutputSpec
from kit.errors import UntrustedError, words_of
from kit.evidence.left_out import judged_outputs
from kit.evidence.logs import SAMPLE_FIGURES, SAMPLES, Logs, log
from kit.evidence.summary import ranked_output
from kit.evidence.types.run import Run
from kit.evidence.types.shared import Shard
from kit.models.adapter import Adapter
from kit.storage.file_kinds import check_at_hand
from kit.storage.hashes import sha256_of
from kit.weights.progress import counted
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

DEVICE, REFERENCE = "device", "reference"
# A shard is written as soon as it holds so much. Not more samples either: small tensors that are kept lie
# between the large ones that are let go, and memory would grow by the gaps (0.25 MiB for each image).
SHARD_BYTES = 16 << 20
SHARD_SAMPLES = 64


class SampleWriter:
    """Writes the outputs of one side; no more than one shard is in memory."""

    def __init__(self, logs: Logs, side: str) -> None:
        self._logs, self._side = logs, side
        self._files: list[Shard] = []
        self._tensors: dict[str, Tensor] = {}
        self._count = self._bytes = self._done = 0
        for earlier in logs.path(SAMPLES).glob(f"{side}-*.safetensors"):
            earlier.unlink()

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        """The outputs of the next sample (CPU)."""
        for name, tensor in outputs.items():
            self._tensors[f"{_number(self._done + self._count)}.{name}"] = tensor
            self._bytes += tensor.numel() * tensor.element_size()
        self._count += 1
        if self._bytes >= SHARD_BYTES or self._count >= SHARD_SAMPLES:
            self._flush()

    def finish(self) -> list[Shard]:
        """Write what is left. Returns every file's name, sha256 and number of samples, in order."""
        if self._count:
            self._flush()
        return self._files

    def _flush(self) -> None:
        name = f"{self._side}-{len(self._files):05}.safetensors"
        self._logs.write_tensors(f"{SAMPLES}/{name}", self._tensors)
        sha256 = sha256_of(self._logs.path(SAMPLES) / name)
        self._files.append(Shard(name=name, sha256=sha256, samples=self._count))
        self._done += self._count
        self._count = self._bytes = 0
        self._tensors.clear()


def check_shards(logs: Logs, run: Run) -> None:
    """Raise UntrustedError where the device's outputs are not those of the record, before anyone waits
    for the reference."""
    for file in run.samples.files if run.samples else ():
        _checked(logs, file)


def read_samples(logs: Logs, files: Sequence[Shard]) -> Iterator[dict[str, Tensor]]:
    """The outputs of one sample after another. Raises UntrustedError for a file that is another one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    first = 0
    for file in files:
        path = _checked(logs, file)
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            why = str(error).replace(str(path), path.name)
            raise UntrustedError(
                Reason("document_damaged", name=f"{SAMPLES}/{path.name}", said=str(why)),
                Reason("run_again"),
            ) from error
        rows: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in tensors.items():
            number, _, name = key.partition(".")
            rows[number][name] = tensor
        for number in map(_number, range(first, first + file.samples)):
            yield rows[number]
        first += file.samples


def judge_saved_samples(
    logs: Logs, new: Logs, adapter: Adapter, run: Run, reference_files: Sequence[Shard]
) -> JudgedSamples | None:
    """Judge the samples of the device in `logs` by those of the reference in `new`, and write
    samples.jsonl there. Returns the summary's section; None where the run had no --data."""
    if run.samples is None:
        return None
    with new.lines_to(SAMPLE_FIGURES) as write:
        return judge_shards(
            (new, reference_files),
            logs,
            run,
            judged_outputs(adapter.outputs, run.weights),
            tell=lambda line: write(json.dumps(line, ensure_ascii=False, allow_nan=False)),
        )


def judge_shards(
    reference: tuple[Logs, Sequence[Shard]],
    logs: Logs,
    run: Run,
    specs: Mapping[str, OutputSpec],
    *,
    tell: Callable[[Mapping[str, Any]], object],
) -> JudgedSamples | None:
    """Judge the run's samples in `logs` by those of the reference, whose folder and files are given.
    `tell` takes each sample's figures. None where the run had no --data. Raises UntrustedError where a
    file is another one than was recorded, or the two sides have not the same samples."""
    recorded = run.samples
    if recorded is None:
        return None
    names = [entry.name for entry in recorded.inputs]
    sides = [reference, (logs, recorded.files)]
    if any(sum(file.samples for file in files) != len(names) for _, files in sides):
        raise UntrustedError(
            Reason("other_count", folder=f"{SAMPLES}/", count=len(names)), Reason("run_again")
        )
    told = counted("judging samples", names, len(names), log.info)
    return judge_samples(
        specs,
        zip(told, *(read_samples(*side) for side in sides), strict=True),
        recorded.device_repeat,
        ranked=ranked_output(run.model),
        tell=tell,
    )


def _checked(logs: Logs, file: Shard) -> Path:
    path = logs.path(SAMPLES) / file.name
    if path.parent.is_symlink():
        raise UntrustedError(Reason("folder_is_link", path=str(path.parent)), Reason("remove_it"))
    try:
        check_at_hand(path)
        found = sha256_of(path)
    except OSError as error:
        raise UntrustedError(
            Reason("is_missing", name=f"{SAMPLES}/{path.name}", said=words_of(error)),
            Reason("run_again"),
        ) from error
    if found != file.sha256:
        raise UntrustedError(
            Reason("other_sha256", name=f"{SAMPLES}/{path.name}"), Reason("run_again")
        )
    return path


def _number(sample: int) -> str:
    return f"{sample:08}"
