"""A repository's small files (config, tokenizer) at one commit, each verified by the hub's own hash.

A revision that can move (main, a branch, a tag) is resolved to a commit once and pinned: the Hugging
Face cache keeps the answer as refs/<revision>, as the library does, and what the repository does not
hold as .no_exist/<commit>/<name>. So a later run needs no network and reads the same bytes; it asks
the hub again only where it is told to (`renew`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import CannotRunError, Fault, words_of
from kit.storage.hashes import is_git_sha1, is_sha256
from kit.weights import caches
from kit.weights.caches import HubRepository, is_commit
from kit.weights.model_files import RepositoryFiles
from kit.weights.progress import Deadline
from kit.weights.request import Attempt, Request, Source, attempt
from kit.weights.roots import hf_root
from kit.weights.weight_file import WeightFile, weight_file
from kit.words import Reason

if TYPE_CHECKING:
    from kit.weights.hub import HubClient
    from kit.weights.remote import Host

REQUIRED = "config.json"
_WITHOUT_HOSTS = "run once with a network, or give a folder with its files as --model"


@dataclass(frozen=True, kw_only=True)
class PinnedRepository:
    """Files of `hub_id` at `commit`, which `revision` named when it was resolved.

    `files` maps the names that the repository holds, of those that were asked for, to files on this
    machine, each with its sha256 and who vouches for it (`hash_origin`: "hub" where the hub's sha256 or
    git sha1 was compared, "computed" where only a mirror spoke). `moved_from` is the commit that was
    pinned before, where the hub was asked again and has moved on; else None. `downloaded`: a byte of a
    file came over the network in this call. `attempts` are all places that were tried, for the log.
    """

    hub_id: str
    revision: str
    commit: str
    files: Mapping[str, WeightFile]
    moved_from: str | None
    downloaded: bool
    attempts: tuple[Attempt, ...]


def pin(
    hub_id: str,
    names: Sequence[str],
    *,
    revision: str = "main",
    renew: bool = False,
    offline: bool = False,
    mirrors: tuple[str, ...] = (),
    timeout: float = 120.0,
    log: Callable[[str], None],
) -> PinnedRepository:
    """config.json and those of `names` that the repository holds, at the commit of `revision`.

    What an earlier call pinned is taken from the cache, without a request, unless `renew` asks the hub
    where the revision is now. Weights are not fetched here: give locate() a ModelFiles whose revision
    is the commit. `mirrors` are those of endpoints.mirror_list; `timeout` (seconds) ends all requests
    together. Raises UsageError for names that could leave the cache, CannotRunError where config.json
    is not to be had.
    """
    wanted = tuple(dict.fromkeys((REQUIRED, *names)))
    info = RepositoryFiles(hub_id=hub_id, companions=wanted, revision=revision)
    caches.check_names(info)
    request = Request(
        info=info, offline=offline, mirrors=mirrors, deadline=Deadline(timeout), log=log
    )
    search = _Search(HubRepository(hf_root(), hub_id), revision, wanted)
    before = revision if is_commit(revision) else search.repository.ref(revision)
    if before is not None and not renew:
        search.look(before)
    if search.lacking():
        from kit.weights.remote import hosts  # only here: what is cached needs no network code

        for host in hosts(request.mirrors):
            if search.lacking():
                search.ask(host, request)
    if search.commit is None or REQUIRED not in search.files:
        tried = " | ".join(f"{each.source}: {each.line}" for each in search.attempts)
        raise CannotRunError(
            f"{REQUIRED} of {hub_id} at {revision} is not to be had: {tried}", None
        )
    moved = before if before != search.commit else None
    if moved is not None:
        log(f"{revision} of {hub_id} has moved: it was {moved}, it is {search.commit}")
    return PinnedRepository(
        hub_id=hub_id,
        revision=revision,
        commit=search.commit,
        files=search.files,
        moved_from=moved,
        downloaded=search.downloaded,
        attempts=tuple(search.attempts),
    )


class _Search:
    """What is found of the wanted files so far, all of it at one commit."""

    def __init__(self, repository: HubRepository, revision: str, wanted: Sequence[str]) -> None:
        self.repository = repository
        self.commit: str | None = None
        self.files: dict[str, WeightFile] = {}
        self.attempts: list[Attempt] = []
        self.downloaded = False
        self._revision, self._wanted = revision, wanted
        self._absent: set[str] = set()

    def lacking(self) -> list[str]:
        """The names that are neither here nor known to be absent from the repository."""
        return [name for name in self._wanted if name not in {*self.files, *self._absent}]

    def look(self, commit: str) -> None:
        """Settle on this commit, and take what the cache has of it and its hash proves."""
        self.commit, self.files = commit, {}
        self._absent = {name for name in self._wanted if self.repository.lacks(commit, name)}
        for name in self.lacking():
            started = time.monotonic()
            path = self.repository.folder / "snapshots" / commit / name
            target = f"hf-cache:{self.repository.hub_id}/{name}"
            try:
                file = self._cached(path, name)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                said = words_of(error)
                refused = Fault(Reason.said(said), Reason("delete_cached"))
                self.attempts.append(attempt("hf-cache", target, "refused", refused, started))
            else:
                self._take(file, "hf-cache", target, started)

    def ask(self, host: Host, request: Request) -> None:
        """Fetch from one host what is lacking; before, where no commit is settled, settle on its own."""
        from kit.weights.transport import HubError

        started = time.monotonic()
        client = host.client(request)
        target = client.url(REQUIRED, self.commit or self._revision)
        if refusal := request.refusal():
            skipped = Fault(refusal.what, _WITHOUT_HOSTS)
            self.attempts.append(attempt(host.source, target, "skipped", skipped, started))
            return
        try:
            if self.commit is None:
                self.look(client.describe(REQUIRED, revision=self._revision).commit)
            for name in self.lacking():
                started, target = time.monotonic(), client.url(name, self.commit or self._revision)
                self._fetch(client, host, name)
        except HubError as error:
            self.attempts.append(attempt(host.source, target, error.outcome, error, started))
            if REQUIRED not in self.files:
                self.commit = None  # another host may know another commit, and has its files
        self.downloaded |= client.received > 0

    def _fetch(self, client: HubClient, host: Host, name: str) -> None:
        """One file at the commit, or the knowledge that it does not exist there. Raises HubError."""
        from kit.weights.download import fetch
        from kit.weights.transport import HubError

        assert self.commit is not None
        started = time.monotonic()
        try:
            file = fetch(client, name, revision=self.commit, sha256=None)
        except HubError as error:
            # With config.json here the repository and its commit exist: it is this file that does not.
            if error.outcome != "absent" or REQUIRED not in self.files:
                raise
            self._absent.add(name)
            with suppress(OSError):
                self.repository.note_lack(self.commit, name)
            return
        self._take(file, host.source, client.url(name, self.commit), started)
        if name == REQUIRED:
            with suppress(OSError):
                self.repository.set_ref(self._revision, self.commit)

    def _take(self, file: WeightFile, source: Source, target: str, started: float) -> None:
        self.files[file.name] = replace(file, revision=self.commit)
        reason = Reason("at_commit", commit=str(self.commit), origin=file.hash_origin)
        self.attempts.append(attempt(source, target, "found", reason, started))

    def _cached(self, path: Path, name: str) -> WeightFile:
        """A file of the cache that is what its blob's name says. Raises OSError, ValueError."""
        info = RepositoryFiles(hub_id=self.repository.hub_id, companions=())
        etag = path.resolve(strict=True).name
        if caches.leads_outside("hf-cache", path):
            raise ValueError(f"{name} is a link that leads out of the cache")
        named = is_sha256(etag) or is_git_sha1(etag)
        # A damaged blob may have a good one beside it, as download.fetch() leaves them.
        _, beside = self.repository.blobs(etag)
        for place in (path, beside) if named and beside.is_file() else (path,):
            file = weight_file(place, name, info, etag=etag, commit=self.commit)
            if file.hash_origin == "hub" or not named:
                return file
        raise ValueError(f"{name} is not the file that the hub gave the hash {etag[:12]}...")
