"""Download a model's files, resumable and verified, and print their hashes.

For whoever prepares a host without a network: take the folder of --to there, and pass it as
--weights. Without --to the files are in the Hugging Face cache, where inference.py looks first.

    python -m kit fetch flan_t5_small
    python -m kit fetch google/flan-t5-small --to flan --mirror https://hf-mirror.com
    python -m kit fetch OWNER/NAME --from-pickle --to folder

A pickle (pytorch_model.bin, or a file named in MODEL's place) is opened by --from-pickle alone: after
its hash is compared, in a child process, by torch's restricted unpickler; what comes out is written once
as model.safetensors, and its record keeps both hashes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from kit.entry import parser_of, path_given
from kit.errors import CannotRunError, UsageError
from kit.machine.variables import check_numbers
from kit.models.known import find_adapter
from kit.weights.arguments import add_download_arguments
from kit.weights.caches import check_names
from kit.weights.copies import copy_into, remove_leftovers
from kit.weights.endpoints import mirror_list
from kit.weights.known_hashes import complete_files
from kit.weights.model_files import ModelFiles
from kit.weights.progress import Deadline
from kit.weights.request import Request
from kit.weights.sources import Located, locate
from kit.weights.unpickled import convert_file, convert_from_hub
from kit.weights.weight_file import WeightFile, weight_file

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Fetch, then print a line for each file. Returns 0; raises KitError."""
    options = _parse(arguments)
    check_numbers("huggingface_hub")
    mirrors = mirror_list(options.mirror)
    if options.to is not None:
        _make_folder(options.to)
        remove_leftovers(options.to)
    if options.from_pickle and Path(options.model).is_file():
        return _convert_file(Path(options.model), options.to)
    files = complete_files(_hub_id(options.model), options.revision)
    if options.from_pickle:
        _convert(files, mirrors, options.download_timeout)
    located = locate(
        files, mirrors=mirrors, timeout=options.download_timeout, complete=True, log=log.info
    )
    if located.file is None:
        raise CannotRunError(located.not_found, None)  # each source has its own
    for file in _found(located, files):
        path = file.path if options.to is None else copy_into(options.to, file)
        log.info(f"{path}  {file.bytes} bytes  sha256 {file.sha256}  {file.hash_origin}")
    _check_complete(located)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit fetch")
    parser.add_argument("model", metavar="MODEL", help="a model of this kit, or any hub id")
    parser.add_argument(
        "--to", type=path_given, metavar="DIR", help="put plain files into this folder"
    )
    parser.add_argument(
        "--revision",
        metavar="REV",
        help="a commit, tag or branch (default: the published commit, else main)",
    )
    parser.add_argument(
        "--from-pickle",
        action="store_true",
        help="take the repository's pytorch_model.bin, or the pickle that MODEL names, and convert it",
    )
    add_download_arguments(parser)
    return parser.parse_args(arguments)


def _convert(files: ModelFiles, mirrors: tuple[str, ...], timeout: float) -> None:
    """Convert the repository's pickle into the cache. Raises KitError."""
    check_names(files)
    convert_from_hub(
        Request(
            info=files, offline=False, mirrors=mirrors, deadline=Deadline(timeout), log=log.info
        )
    )


def _convert_file(path: Path, folder: Path | None) -> int:
    """Convert a pickle on this machine. Returns 0; raises KitError."""
    if folder is None:
        raise UsageError(
            f"--from-pickle {path.name} needs a folder to write to", "name it with --to DIR"
        )
    convert_file(path, folder / "model.safetensors", log.info)
    return 0


def _hub_id(model: str) -> str:
    """The hub id of a model of this kit by any of its names; any other OWNER/NAME as it is.

    Raises UsageError for an unknown name that is no hub id.
    """
    try:
        return find_adapter(model).info.hub_id
    except UsageError:
        if model.count("/") != 1:
            raise
        return model  # locate() refuses what is no repository name


def _found(located: Located, files: ModelFiles) -> Iterator[WeightFile]:
    """The weights and the companions, each with its bytes hashed."""
    assert located.file is not None
    yield from located.file.files
    for name, path in located.companions.items():
        etag = path.resolve().name  # in the Hugging Face cache; elsewhere it is no hash
        yield weight_file(path, name, files, etag=etag)


def _make_folder(folder: Path) -> None:
    """Before the download, not after it: a folder that cannot be is an error at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--to {folder} cannot be a folder ({error.strerror})", "choose another --to"
        ) from error


def _check_complete(located: Located) -> None:
    """Raise CannotRunError where a file beside the weights is not here and may exist."""
    names = [attempt.target.rpartition("/")[2] for attempt in located.attempts]
    settled = {*located.companions, located.file.name if located.file else ""}
    lost = [
        f"{name} ({attempt.line})"
        for name, attempt in zip(names, located.attempts, strict=True)
        if attempt.source in ("hub", "mirror")
        and attempt.outcome in ("failed", "refused", "skipped")
        and name not in settled
    ]
    if lost:
        raise CannotRunError(f"the weights are here, but not {'; '.join(lost)}", "run it again")
