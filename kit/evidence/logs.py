"""The folder logs/: one run in hand, under a lock; earlier runs in history; no half-written file."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import CannotRunError, UntrustedError, UsageError, shown, words_of
from kit.evidence.replacement import begin, decide, settle
from kit.storage.names import check_regular
from kit.storage.whole import written_whole
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

RUN_LOG = "run_npu.log"
WEIGHTS_LOG = "pretrained_attempt.log"
RECORD = "run.json"
INPUTS = "inputs.safetensors"
OUTPUTS = "outputs.safetensors"
REFERENCE = "reference.safetensors"
GOLDEN = "golden.safetensors"
# What the device's runtime wrote while the passes ran; left only where that ended the process.
RUNTIME_STDERR = "runtime_stderr.log"
COMPARE_LOG = "accuracy_compare.log"
SUMMARY = "summary.json"
# What a page draws of the comparison: distributions, points, top-5.
CHARTS = "charts.json"
PAGE = "report.html"
PLOTS = "plots"
# With --data: the folder of every sample's outputs, and a line of figures for each sample.
SAMPLES = "samples"
SAMPLE_FIGURES = "samples.jsonl"
# With inference.py --localize: what every module call took and gave.
MODULE_CALLS = "module_calls.safetensors"
# With --localize: every module call, and the wrong operator in a file of its own.
LAYERS = "layers.csv"
WRONG_OPERATOR = "wrong_operator"
# What follows from summary.json and run.json, for people; report.md is in Chinese unless asked otherwise.
REPORT = "report.md"
REPORT_ENGLISH = "report.en.md"
REPORTS = (REPORT, REPORT_ENGLISH, PAGE, PLOTS)
# Of a model without a folder under models/: the config by which it is built again.
MODEL = "model"
# Absolute paths of this machine, for compare_accuracy.py on the same one; never part of the evidence.
LOCAL_PATHS = "local_paths.json"

# summary.json first: whenever a move is cut short, no old verdict is left standing.
RUN_FILES = (
    SUMMARY,
    RECORD,
    RUN_LOG,
    WEIGHTS_LOG,
    INPUTS,
    OUTPUTS,
    MODULE_CALLS,
    REFERENCE,
    GOLDEN,
    SAMPLES,
    SAMPLE_FIGURES,
    COMPARE_LOG,
    CHARTS,
    LAYERS,
    WRONG_OPERATOR,
    RUNTIME_STDERR,
    MODEL,
    LOCAL_PATHS,
    *REPORTS,
)
# What a comparison writes, summary.json first; another one replaces all of it.
_COMPARISON = [
    SUMMARY,
    REFERENCE,
    GOLDEN,
    f"{SAMPLES}/reference-*.safetensors",
    SAMPLE_FIGURES,
    COMPARE_LOG,
    CHARTS,
    LAYERS,
    f"{WRONG_OPERATOR}/*",
    *REPORTS,
]
_FOLDERS = (SAMPLES, PLOTS, MODEL, WRONG_OPERATOR)
LOCK = ".lock"
_HISTORY = "history"

log = logging.getLogger("kit")


class Logs:
    """The files of the run in hand. Obtained from claim_logs(), which holds the lock.

    Raises UntrustedError where something else than files is in their places.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _check_files(folder)

    def path(self, name: str) -> Path:
        """Where the file `name` of the run in hand is, or will be."""
        return self.folder / name

    @contextmanager
    def replacing_comparison(self) -> Iterator[Logs]:
        """Where a comparison is to be written: when the block ends, its files take the place of an
        earlier one's, all together, and none does where it raises. The report is not among them: it is
        made of them later."""
        with _disk_errors(self.folder):
            written = begin(self.folder)
        try:
            yield Logs(written)
        except Exception:
            shutil.rmtree(written, ignore_errors=True)
            raise
        with _disk_errors(self.folder):
            decide(self.folder, _COMPARISON)

    def copy_from(self, other: Logs, *names: str) -> None:
        """Have the files `names` (patterns) of another folder here, too, without a copy where the disk
        can do that."""
        with _disk_errors(self.folder):
            for path in (path for name in names for path in other.folder.glob(name)):
                target = self.path(str(path.relative_to(other.folder)))
                target.parent.mkdir(exist_ok=True)
                try:
                    target.hardlink_to(path)
                except OSError:
                    shutil.copyfile(path, target)

    def archive_earlier_run(self) -> None:
        """Move the files of an earlier run to history/<time>-<model>/."""
        # lexists: a link that leads nowhere would otherwise be written through.
        present = [self.path(name) for name in RUN_FILES if os.path.lexists(self.path(name))]
        if not present:
            return
        target = self._history_folder(present)
        with _disk_errors(self.folder):
            target.mkdir(parents=True)
            for path in present:
                path.replace(target / path.name)

    def discard(self, name: str) -> None:
        """Remove a file or folder that no longer tells of the run in hand."""
        path = self.path(name)
        with _disk_errors(self.folder):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write strict JSON (no NaN tokens) in UTF-8, whole or not at all."""
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in UTF-8, whole or not at all."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self.in_place(name) as temporary:
            temporary.write_bytes(content)

    def write_tensors(
        self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write CPU tensors as safetensors, whole or not at all."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        with self.in_place(name) as temporary:
            try:
                save_file(_apart(tensors), temporary, metadata=dict(metadata) if metadata else None)
            except SafetensorError as error:  # its name for a full disk
                raise OSError(str(error)) from error

    @contextmanager
    def lines_to(self, name: str) -> Iterator[Callable[[str], object]]:
        """Write a text file line by line, in UTF-8, whole or not at all."""
        with self.in_place(name) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield lambda line: file.write(f"{line}\n")

    @contextmanager
    def logging_to(self, name: str) -> Iterator[None]:
        """Append everything that is logged meanwhile to the file `name`, with times, and the traceback
        of the exception that ends it."""
        if self.path(name).is_symlink():
            raise UntrustedError(
                Reason("linked_file", path=str(self.path(name))), Reason("remove_it")
            )
        with _disk_errors(self.folder):
            # A folder's name may be no UTF-8.
            handler = _LogFile(self.path(name), encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        log.addHandler(handler)
        try:
            yield
        except Exception:
            log.debug("ended by an error", exc_info=True)
            raise
        finally:
            log.removeHandler(handler)
            with suppress(OSError):
                handler.close()

    @contextmanager
    def in_place(self, name: str) -> Iterator[Path]:
        """An empty file, which takes the place of `name` when the block ends, unless it raises."""
        target = self.path(name)
        if target.parent != self.folder and target.parent.is_symlink():
            raise UntrustedError(
                Reason("folder_is_link", path=str(target.parent)), Reason("remove_it")
            )
        with _disk_errors(self.folder):
            target.parent.mkdir(exist_ok=True)
            with written_whole(target) as temporary:
                yield temporary

    def _history_folder(self, present: list[Path]) -> Path:
        try:
            record = json.loads(self.path(RECORD).read_text("utf-8"))
            model = str(record["model"]["adapter"] or record["model"]["name"])
            started = datetime.fromisoformat(record["started_at"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # An earlier run that left no readable record is still kept.
            model = "unknown"
            started = datetime.fromtimestamp(max(path.lstat().st_mtime for path in present), UTC)
        safe = "".join(char if char.isalnum() or char in "_-" else "_" for char in model)[:64]
        wanted = self.folder / _HISTORY / f"{started:%Y%m%dT%H%M%SZ}-{safe}"
        target, number = wanted, 1
        while target.exists():
            number += 1
            target = wanted.with_name(f"{wanted.name}-{number}")
        return target


class _LogFile(logging.FileHandler):
    """What a full disk does not take is lost to the log: what goes on is told where it matters."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Print no traceback of the log's own."""


def _check_files(folder: Path) -> None:
    """Raise UntrustedError where the place of a file holds what may never answer, such as a pipe."""
    paths = [folder / name for name in RUN_FILES]
    for path in paths:
        try:
            if path.name not in _FOLDERS:
                check_regular(path)
            elif path.is_dir():
                paths.extend(path.iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            name = shown(path.relative_to(folder))
            raise UntrustedError(
                Reason(
                    "in_folder_unread",
                    name=name,
                    folder=shown(folder),
                    said=words_of(error),
                ),
                Reason("remove_it"),
            ) from error


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors, no two in the same memory: an output may be another one's transpose."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.contiguous() if place not in taken else tensor.contiguous().clone()
        taken.add(place)
    return apart


@contextmanager
def claim_logs(folder: Path) -> Iterator[Logs]:
    """Make the folder and hold its lock; nothing in it is touched.

    Raises UsageError where it is no folder, CannotRunError where it cannot be written or another run
    holds it.
    """
    from filelock import FileLock, Timeout

    with _disk_errors(folder):
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError(Reason("logs_is_no_folder", folder=str(folder)), Reason("name_folder"))
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CannotRunError(
                Reason("logs_in_use", folder=str(folder)), Reason("wait_or_other_logs")
            ) from None
    try:
        with _disk_errors(folder):
            settle(folder, _COMPARISON)
        # Of a run that was killed while writing; in samples/ every such file is.
        for pattern in (*(f".{name}.*.tmp" for name in RUN_FILES), f"{SAMPLES}/.*.tmp"):
            for leftover in folder.glob(pattern):
                leftover.unlink(missing_ok=True)
        yield Logs(folder)
    finally:
        lock.release()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = Reason("cannot_write", folder=str(folder), said=words_of(error))
        with suppress(OSError):
            free = shutil.disk_usage(folder).free // 2**20
            what = Reason("cannot_write_room", folder=str(folder), said=words_of(error), free=free)
        raise CannotRunError(what, Reason("name_writable")) from error
