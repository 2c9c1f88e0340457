"""Reading a run back from logs/. Records travel between machines and are not trusted.

Everything that is read is checked before it is used: the record against its schema and the adapter's
own declaration, every tensor file against the hashes in the record. Nothing a record names is imported.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import CannotRunError, KitError, UntrustedError, UsageError
from kit.evidence.contradictions import find_contradictions
from kit.evidence.declared import adapter_of
from kit.evidence.documents import read_record
from kit.evidence.logs import COMPARE_LOG, LOCAL_PATHS, RECORD, SUMMARY, Logs
from kit.evidence.schema import checked
from kit.evidence.summary import summarise
from kit.evidence.types.run import FedInput, FinishedRun, Run
from kit.evidence.types.shared import LoadedFile, Weights
from kit.evidence.types.summary import Summary
from kit.models.adapter import Adapter
from kit.storage.file_kinds import check_at_hand
from kit.storage.fingerprint import SavedTensor, describe_tensors, fingerprint
from kit.storage.hashes import sha256_of
from kit.weights.caches import copies
from kit.weights.sources import resolve
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

    from kit.weights.load import LoadedWeights


@contextmanager
def distrust_on_record(logs: Logs) -> Iterator[None]:
    """Let every UntrustedError write the verdict INVALID before it leaves."""
    try:
        yield
    except UntrustedError as error:
        try:
            run = read_record(logs)
        except (UntrustedError, UsageError):
            run = None
        with logs.replacing_comparison() as new:
            write_summary(new, summarise(run, invalid=error.message))
            new.write_text(COMPARE_LOG, f"verdict: INVALID\nreason: {error}\n")
        raise


def write_summary(logs: Logs, summary: Summary) -> None:
    """Write summary.json after checking its form."""
    logs.write_json(SUMMARY, checked(summary))


def read_adapter(logs: Logs, run: Run) -> Adapter:
    """The adapter that made the record. Raises UntrustedError for any other, and where the record of a run
    that succeeded contradicts itself."""
    adapter = adapter_of(logs, run)
    if run.status == "SUCCESS":
        contradiction = next(find_contradictions(FinishedRun.of(run), adapter), None)
        if contradiction:
            raise UntrustedError(
                Reason("contradicts", record=RECORD, contradiction=str(contradiction)),
                Reason("run_again"),
            )
    return adapter


def finished(run: Run) -> FinishedRun:
    """The run, with every section. Raises UntrustedError where it did not reach its end."""
    if run.status != "SUCCESS":
        why = run.error.message if run.error else Reason("no_end")
        raise UntrustedError(Reason("run_ended", status=run.status, why=why), Reason("run_again"))
    return FinishedRun.of(run)


def read_tensors(logs: Logs, name: str, described: Mapping[str, SavedTensor]) -> dict[str, Tensor]:
    """The tensors of a file of the run, if they are those that the record describes.

    Raises UntrustedError where the file is missing or damaged, or a name, shape, dtype or hash differs,
    CannotRunError where a clone without Git LFS has a pointer there, or this user may not read it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = logs.path(name)
    try:
        check_at_hand(path)
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        why = str(error).replace(str(path), name)  # errors travel, folders of this machine do not
        raise UntrustedError(
            Reason("missing_or_damaged", name=name, why=why), Reason("run_again")
        ) from error
    if tensors.keys() != described.keys():
        raise UntrustedError(
            Reason(
                "holds_other",
                name=name,
                found=str(sorted(tensors)),
                described=str(sorted(described)),
            ),
            Reason("run_again"),
        )
    if describe_tensors(tensors) != described:
        raise UntrustedError(Reason("not_as_recorded", name=name), Reason("run_again"))
    return tensors


def check_input(inputs: Mapping[str, Tensor], fed: FedInput) -> None:
    """Raise UntrustedError where the inputs are not the ones the device was fed."""
    _same("inputs", fingerprint(inputs), fed.fingerprint)


def check_weights(found: LoadedWeights, weights: Weights) -> None:
    """Raise UntrustedError where `found` is not what the record says of the run's weights."""
    _same("weights", found.fingerprint, weights.fingerprint)
    contents = found.account, weights.contents
    for what, here, recorded in (
        ("parameters", found.parameters, weights.parameters),
        ("tensors", found.tensors, weights.tensors),
        ("dtypes", *(each and each.dtypes for each in contents)),
        ("random tensors", *(each and each.initialised for each in contents)),
    ):
        if here != recorded:
            raise UntrustedError(
                Reason("other_weights", what=str(what), here=str(here), recorded=str(recorded)),
                Reason("run_again"),
            )


def check_heads(outputs: Collection[str], weights: Weights) -> None:
    """Raise UntrustedError where other `outputs` come from random heads than the record leaves out."""
    if set(outputs) != set(weights.outputs_of_random_heads):
        raise UntrustedError(
            Reason(
                "left_out_wrongly",
                told=str(sorted(weights.outputs_of_random_heads)),
                found=str(sorted(outputs)),
            ),
            Reason("run_again"),
        )


def find_weights_again(
    logs: Logs, adapter: Adapter, weights: Weights, explicit: Path | None
) -> list[Path]:
    """The safetensors files of the run on this machine; none where the run's weights were random.

    `explicit` is the user's word on where it is. Raises CannotRunError where it is not to be found
    or its bytes are others, UsageError where that is so of `explicit`.
    """
    if not weights.files or weights.weight_path is None:
        return []
    file, *shards = weights.files
    if explicit is not None:
        path: Path | None = _in_folder(explicit, file, adapter) if explicit.is_dir() else explicit
    else:
        path = resolve(weights.weight_path, adapter.info, hint=local_path(logs, "weights"))
    # No fault of the evidence: it is the file of this machine that is absent, or another one.
    fault = CannotRunError if explicit is None else UsageError
    if path is None or not path.is_file():
        raise fault(
            f"{weights.weight_path} is not on this machine",
            "name the same file with --weights PATH",
        )
    if sha256_of(path) != file.sha256:
        raise _other_bytes(fault, file)
    return [_find_shard(path.parent / shard.name, shard, fault) for shard in shards] or [path]


def _in_folder(folder: Path, file: LoadedFile, adapter: Adapter) -> Path:
    """The file under the run's name for it, else under the model's own."""
    named = folder / file.name
    return named if named.is_file() else folder / adapter.info.weights


def _find_shard(place: Path, shard: LoadedFile, fault: type[KitError]) -> Path:
    """A shard of the run beside its index. Raises `fault` where it is not there or another one."""
    found = [path for path in copies(place) if path.is_file()]
    if not found:
        raise fault(
            f"the shard {shard.name} is not beside its index",
            "name their folder with --weights DIR",
        )
    for path in found:
        if sha256_of(path) == shard.sha256:
            return path
    raise _other_bytes(fault, shard)


def _other_bytes(fault: type[KitError], file: LoadedFile) -> KitError:
    return fault(
        f"{file.name} has another sha256 than the run's weights ({file.sha256[:12]}...)",
        "give the same file with --weights PATH, or run inference.py again",
    )


def local_path(logs: Logs, what: str) -> Path | None:
    """Where the run's `weights`, its `data` or its `model`'s own folder are, if it was made here."""
    try:
        return Path(json.loads(logs.path(LOCAL_PATHS).read_text("utf-8"))[what])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # the record came from another machine


def _same(what: str, found: str, recorded: str) -> None:
    if found != recorded:
        raise UntrustedError(
            Reason("other_fingerprint", what=what, found=found[:12], recorded=recorded[:12]),
            Reason("run_again"),
        )
