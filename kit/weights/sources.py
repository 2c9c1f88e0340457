"""Where a model's weights come from: one chain of sources, each attempt on record.

explicit path -> Hugging Face cache -> ModelScope caches -> KIT_WEIGHTS_CACHE -> hub -> mirrors ->
ModelScope's SDK. The first file whose bytes hold what is known of them wins; a local copy that is
good costs no network request. All network sources share one deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kit.weights import caches
from kit.weights.caches import resolve
from kit.weights.local import check_explicit, explicit, local_copy, no_weights_beside
from kit.weights.model_files import ModelFiles, in_repository
from kit.weights.progress import Deadline
from kit.weights.request import Answer, Attempt, Request, attempt
from kit.weights.weight_file import HashOrigin, WeightFile
from kit.words import Reason

__all__ = ["Attempt", "Located", "WeightFile", "check_explicit", "companions", "locate", "resolve"]


@dataclass(frozen=True, kw_only=True)
class Located:
    """What the chain gave: the file and its label, or None and why; `companions` by file name.

    `downloaded`: bytes of a file came over the network in this call, even if they were of no use.
    """

    file: WeightFile | None
    label: str | None
    attempts: tuple[Attempt, ...]
    companions: Mapping[str, Path]
    downloaded: bool

    @property
    def pretrained_used(self) -> bool | None:
        """True: the hash is published or the hub's; None: nobody vouches; False: no file."""
        if self.file is None:
            return False
        return None if self._origin == "computed" else True

    @property
    def pretrained_reason(self) -> Reason:
        """One line: why pretrained_used is what it is."""
        if self.file is None:
            tried = [Reason("of_source", source=a.source, why=a.reason) for a in self._vain]
            return Reason("no_source", tried=tried)
        if origin := next((f.converted_from for f in self.file.files if f.converted_from), None):
            return Reason("converted", name=origin.name, sha256=origin.sha256)
        return Reason(f"hash_{self._origin}")

    @property
    def not_found(self) -> Reason:
        """What to tell where there is no file: every source with its next step."""
        tried = [Reason("of_source", source=a.source, why=a.line) for a in self._vain]
        return Reason("no_source", tried=tried)

    @property
    def _vain(self) -> list[Attempt]:
        """Where no weights are: every attempt but those that gave a companion."""
        return [attempt for attempt in self.attempts if attempt.outcome != "found"]

    @property
    def _origin(self) -> HashOrigin:
        """Who vouches for every file: the weakest of them."""
        assert self.file is not None
        origins = {file.hash_origin for file in self.file.files}
        weakest: tuple[HashOrigin, ...] = ("computed", "hub", "published")
        return next(origin for origin in weakest if origin in origins)


def locate(
    info: ModelFiles,
    *,
    path: Path | None = None,
    beside: Path | None = None,
    offline: bool = False,
    mirrors: tuple[str, ...] = (),
    timeout: float = 1800.0,
    complete: bool = False,
    to_load: bool = False,
    log: Callable[[str], None],
) -> Located:
    """Walk the chain for `info.weights`. `timeout` (seconds) ends all downloads together.

    `beside` is the user's own folder of the model, whose companions are used wherever the weights are.
    `mirrors` are those of endpoints.mirror_list. `complete` fetches missing companions also where
    the weights are on this machine already. `to_load`: they are for this machine's memory.
    Safe in a background thread, and sound when killed at any moment. Raises UsageError where `path`
    is unusable (it is then the only source) or where a name of `info` could leave the caches,
    CannotRunError where weights to load are larger than this machine's memory.
    """
    if in_repository(info):
        caches.check_names(info)
    request = Request(
        info=info,
        offline=offline,
        mirrors=mirrors,
        deadline=Deadline(timeout),
        log=log,
        to_load=to_load,
    )
    attempts: list[Attempt] = []
    downloaded = False
    for source in _sources(request) if path is None else (partial(explicit, path),):
        answer = source(request)
        attempts += answer.attempts
        downloaded |= answer.downloaded
        if answer.file is not None:
            break
    if complete and answer.file is not None and not answer.downloaded:
        from kit.weights.remote import fetch_companions

        attempts += fetch_companions(request)
    named = (answer.file.path.parent if path and answer.file else None, beside)
    at_hand = companions(info, *named)
    return Located(
        file=answer.file,
        label=answer.label,
        attempts=(*attempts, *_of_companions(at_hand, named)),
        companions=at_hand,
        downloaded=downloaded,
    )


def _sources(request: Request) -> Iterator[Callable[[Request], Answer]]:
    """The chain after an explicit path, in its order."""
    if not in_repository(request.info):  # a folder's model: it is nowhere else
        yield partial(no_weights_beside, request.info)
        return
    yield partial(local_copy, "hf-cache")
    yield partial(local_copy, "modelscope-cache")
    yield partial(local_copy, "weights-cache")
    # Only here: a local copy needs no network code.
    from kit.weights.modelscope import from_sdk
    from kit.weights.remote import from_host, hosts

    for host in hosts(request.mirrors):
        yield partial(from_host, host)
    yield from_sdk


def companions(info: ModelFiles, *named: Path | None) -> dict[str, Path]:
    """The companion files at hand: in the first folder `named` by the user that has one, else a cache."""
    found = {name: caches.companion(name, info, named=named) for name in info.companions}
    return {name: path for name, path in found.items() if path is not None}


def _of_companions(at_hand: Mapping[str, Path], named: Sequence[Path | None]) -> Iterator[Attempt]:
    """That a companion is the user's own, for the record."""
    for name, path in at_hand.items():
        if path.parent in named:
            yield attempt("file", f"file:{name}", "found", Reason("companion"), time.monotonic())
