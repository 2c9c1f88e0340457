"""The one place where a pickle is opened: in a child process with limits, written once as safetensors."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kit.errors import CannotRunError, UsageError
from kit.machine.bounded import run_bounded
from kit.storage.file_kinds import kind_of
from kit.storage.hashes import sha256_of
from kit.storage.whole import written_whole
from kit.weights.caches import HubRepository
from kit.weights.download import fetch
from kit.weights.remote import PICKLE, hosts
from kit.weights.request import Request
from kit.weights.roots import hf_root
from kit.weights.transport import HubError
from kit.weights.weight_file import DamagedFileError, check_safetensors

SECONDS = 3600.0
_PATIENCE_SECONDS = 120.0
# torch hub's convention: the name ends with the first digits of the sha256.
_NAMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+")


def convert_file(path: Path, target: Path, log: Callable[[str], None]) -> None:
    """Write the tensors of a pickle on this machine to `target` (model.safetensors).

    Raises UsageError where it is no pickle, or not the one that its name says, or holds no tensors.
    """
    try:
        kind, digest = kind_of(path), sha256_of(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", "name a pickle") from error
    if kind.code != "pickle":
        raise UsageError(f"{path} is {kind.words}", "--from-pickle takes a pickle")
    named = _NAMED_HASH.search(path.name)
    if named and not digest.startswith(named[1]):
        raise UsageError(
            f"{path} has sha256 {digest[:12]}..., its name says {named[1]}", "fetch it again"
        )
    _convert(path, target, digest=digest, log=log)


def convert_from_hub(request: Request) -> Path:
    """Fetch the repository's pickle, which the hub's hash proves, and write it as safetensors into the
    Hugging Face cache, where locate() finds it. Raises CannotRunError, UsageError."""
    info, reasons = request.info, []
    repository = HubRepository(hf_root(), info.hub_id)
    for host in hosts(request.mirrors):
        if refusal := request.refusal():
            raise CannotRunError(
                f"{PICKLE} of {info.hub_id} is not fetched: {refusal.what}", refusal.cure
            )
        client = host.client(request)
        try:
            commit = client.describe(PICKLE, revision=info.revision).commit
            target = repository.converted(commit) / info.weights
            file = fetch(client, PICKLE, revision=commit, sha256=info.published.get(PICKLE))
        except HubError as error:
            reasons.append(f"{host.source}: {error}")
            continue
        with suppress(OSError):
            repository.set_ref(info.revision, commit)
        request.log(f"{PICKLE} has sha256 {file.sha256} ({file.hash_origin})")
        if not _is_of(target, file.sha256):
            _convert(file.path, target, digest=file.sha256, log=request.log)
        return target
    raise CannotRunError(f"no {PICKLE} of {info.hub_id}: {' | '.join(reasons)}", None)


def _is_of(target: Path, digest: str) -> bool:
    """Whether `target` is already the conversion of the pickle with this sha256."""
    from kit.weights.weight_file import converted_from

    try:
        check_safetensors(target)
        origin = converted_from(target)
    except (OSError, DamagedFileError):
        return False
    return origin is not None and origin.sha256 == digest


def _convert(path: Path, target: Path, *, digest: str, log: Callable[[str], None]) -> None:
    """Run the child, look at what it wrote, and give that its name. Raises UsageError, CannotRunError."""
    origin = json.dumps({"name": path.name, "sha256": digest})
    limit = 4 * path.stat().st_size + (1 << 30)
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
        "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)]),
        "OMP_NUM_THREADS": "1",
    }
    log(f"{path.name} is opened in a child process, by torch's restricted unpickler")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as temporary:
            words = ["-m", "kit.weights.pickle_child", path, temporary, origin, limit]
            ended = run_bounded(
                [sys.executable, *map(str, words)],
                SECONDS,
                patience=_PATIENCE_SECONDS,
                environment=environment,
            )
            if ended.code != 0:
                said = ended.err.strip().splitlines()[-1:] or [ended.how()]
                raise UsageError(
                    f"{path.name} (sha256 {digest[:12]}...) is not converted: {said[0]}; it "
                    "needs more than tensors by name, or is damaged",
                    "convert it where you trust it",
                )
            check_safetensors(temporary)
    except OSError as error:
        raise CannotRunError(
            f"{target} cannot be written ({error.strerror})", "free the disk or choose another --to"
        ) from error
    log(f"{target} has sha256 {sha256_of(target)}, made of {path.name} with sha256 {digest}")
