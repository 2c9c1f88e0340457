"""Download one file from the hub into the Hugging Face cache, under one deadline, verified.

Why the kit has a transport of its own: neither generation of huggingface_hub has a total deadline
(measured: 397 s on a host that accepts and never answers, no end at all on a trickle), the 2.x line
does not resume after a kill, and no client verifies a hash. The cache's layout, lock files, ETags
and token are the library's, so it finds what is downloaded here and never downloads it twice.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kit.weights import progress
from kit.weights.caches import HubRepository, hf_root, is_commit
from kit.weights.hashes import PartialFile, WeightFile, is_sha256, sha256_of
from kit.weights.progress import Deadline, Patience, Progress, TransientError, megabytes
from kit.weights.transport import (
    MIRROR_CURE,
    Exchange,
    Head,
    HubError,
    authorization,
    endpoint,
    file_url,
    shown,
)

T = TypeVar("T")

DISK_CURE = "set HF_HOME to a folder on another disk, or pass --weights PATH"

# Left free for everything else on the disk.
SPARE_BYTES = 16_000_000

_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """What the hub says of a file: `etag` names its bytes (a large file's sha256)."""

    etag: str
    size: int
    commit: str


class HubSession:
    """Downloads of one model under one deadline. `received` counts body bytes off the network."""

    def __init__(self, hub_id: str, *, deadline: Deadline, log: Callable[[str], None]) -> None:
        self.received = 0
        self._hub_id = hub_id
        self._deadline = deadline
        self._log = log
        self._base = shown(endpoint())
        self._authorization: str | None = None
        self._repository = HubRepository(hf_root(), hub_id)

    def shorten(self, seconds: float) -> None:
        """What follows may take `seconds` at most, and never more than what was left."""
        self._deadline = Deadline(min(seconds, self._deadline.left()))

    def url(self, name: str, revision: str) -> str:
        """The file's address, without credentials."""
        return file_url(self._base, self._hub_id, revision, name)

    def fetch(self, name: str, *, revision: str, sha256: str | None) -> WeightFile:
        """The file in the cache, downloaded where needed; `sha256` is the published one.

        Raises HubError, whatever the network or the disk does, within the deadline.
        """
        self._authorization = authorization(endpoint())
        url = self.url(name, revision)
        offer = self._retrying(lambda patience: self._describe(url, revision, patience))
        from_hub = offer.etag if is_sha256(offer.etag) else None
        if sha256 is not None and from_hub not in (None, sha256):
            raise HubError(
                f"the hub offers other bytes ({from_hub}) than were published ({sha256}); "
                + MIRROR_CURE,
                outcome="refused",
            )
        known = sha256 or from_hub
        try:
            with self._locked(offer):
                blob, digest = self._held(offer, known) or self._download(url, name, offer, known)
            path = self._repository.place(blob, commit=offer.commit, revision=revision, name=name)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            need = f"up to {megabytes(offer.size)} more are needed; free them, " if full else ""
            raise HubError(
                f"the Hugging Face cache cannot be written ({error.strerror}); {need}{DISK_CURE}"
            ) from error
        return WeightFile(
            name=name,
            path=path,
            bytes=offer.size,
            sha256=digest,
            hash_origin="published" if sha256 else "hub" if from_hub else "computed",
            revision=offer.commit,
        )

    def _retrying(self, step: Callable[[Patience], T]) -> T:
        """Run `step` until it is through, its tries are used up or the deadline ends."""
        patience = Patience(self._deadline)
        while True:
            try:
                return step(patience)
            except TransientError as error:
                seconds = patience.pause_after(error)
                if seconds is None:
                    raise self._given_up(error, patience.tries) from error
                self._log(f"{error}: trying again in {seconds:.1f} s")
                time.sleep(seconds)

    def _given_up(self, error: TransientError, tries: int) -> HubError:
        if self._deadline.left() <= 0:
            reason = f"the deadline of {self._deadline.seconds:g} s ended ({error})"
            cure = "raise --download-timeout or " + MIRROR_CURE
        else:
            reason, cure = f"{error} (tries in a row: {tries})", MIRROR_CURE
        return HubError(f"{reason}; {cure}", answered=error.answered)

    def _describe(self, url: str, revision: str, patience: Patience) -> _Offer:
        """Ask what the file is. Raises TransientError, HubError."""
        with self._exchange("HEAD", url, {}) as exchange:
            head = exchange.head(patience.answer_seconds())
        self._check_status(head, accepted=(200, *_REDIRECTS))
        fields = head.fields
        etag = (fields.get("X-Linked-Etag") or fields.get("ETag") or "").removeprefix("W/")
        size = fields.get("X-Linked-Size") or fields.get("Content-Length") or ""
        commit = fields.get("X-Repo-Commit") or revision
        etag = etag.strip('"')
        if not (re.fullmatch(r"[A-Za-z0-9_-]{8,128}", etag) and re.fullmatch(r"[0-9]{1,15}", size)):
            raise HubError(f"{head.host} does not answer like a model hub; {MIRROR_CURE}")
        if not is_commit(commit) or (is_commit(revision) and commit != revision):
            raise HubError(f"{head.host} does not name the commit asked for; {MIRROR_CURE}")
        return _Offer(etag=etag, size=int(size), commit=commit)

    def _held(self, offer: _Offer, known: str | None) -> tuple[Path, str] | None:
        """The blob and its sha256 where another process, or the library, has put it already."""
        for blob in self._repository.blobs(offer.etag):
            if blob.is_file() and blob.stat().st_size == offer.size:
                digest = sha256_of(blob)
                if known in (None, digest):
                    return blob, digest
        return None

    def _download(self, url: str, name: str, offer: _Offer, known: str | None) -> tuple[Path, str]:
        """Resume or begin the partial file, verify it, give it its name. Raises HubError, OSError.

        A file gets its final name only with the right hash and all its bytes on the disk, so a
        kill at any moment leaves either nothing new or a good file.
        """
        part = PartialFile(self._repository.part(offer.etag))
        try:
            resumed = 0 < part.size <= offer.size
            self._receive_all(url, name, part, offer)
            if resumed and known not in (None, part.sha256()):
                self._log(f"{name}: the earlier run's part is damaged, beginning again")
                part.restart()
                self._receive_all(url, name, part, offer)
            digest = part.sha256()
            part.sync()
        finally:
            part.close()
        # The size again: where the disk's locks do not hold, somebody else may have appended.
        if known not in (None, digest) or part.path.stat().st_size != offer.size:
            part.path.unlink()
            raise HubError(
                f"the bytes received have sha256 {digest}, not {known}: changed on the way or by "
                f"the mirror; {MIRROR_CURE}",
                outcome="refused",
            )
        blob, beside = self._repository.blobs(offer.etag)
        # A damaged blob in the place of this one is not the kit's to move.
        target = beside if os.path.lexists(blob) else blob
        part.path.replace(target)
        return target, digest

    def _receive_all(self, url: str, name: str, part: PartialFile, offer: _Offer) -> None:
        """Append until the part has the offered size. Raises HubError, OSError."""
        if part.size > offer.size:
            part.restart()
        if part.size == offer.size:
            return  # killed between the last byte and the final name
        self._check_disk(offer.size - part.size, part.path)
        at = f" from byte {part.size}" if part.size else ""
        self._log(f"downloading {name} ({megabytes(offer.size)}){at} from {self._base}")
        bar = Progress(name, total=offer.size, start=part.size, log=self._log)
        try:
            self._retrying(lambda patience: self._receive(url, part, offer, bar, patience))
        except HubError as error:
            kept = f" (the next run goes on at byte {part.size})" if part.size else ""
            raise HubError(
                f"{error}{kept}", answered=error.answered, outcome=error.outcome
            ) from error
        finally:
            bar.close()

    def _receive(
        self, url: str, part: PartialFile, offer: _Offer, bar: Progress, patience: Patience
    ) -> None:
        """One GET for what is missing. Raises TransientError, HubError, OSError."""
        wanted = {"Range": f"bytes={part.size}-"} if part.size else {}
        with self._exchange("GET", url, wanted) as exchange:
            head = exchange.head(patience.answer_seconds())
            if head.status == 416 or (part.size and head.status == 200):
                part.restart()  # the host does not resume: what it sends begins at byte 0
            self._check_status(head, accepted=(200, 206))
            head.check_length(start=part.size, total=offer.size)
            while part.size < offer.size:
                limit = min(progress.STALL_SECONDS, self._deadline.left())
                chunk = exchange.chunk(limit)
                self.received += len(chunk)
                if part.size + len(chunk) > offer.size:
                    raise TransientError(f"{head.host} sends more than it announced", answered=True)
                part.append(chunk)
                patience.progressed()
                bar.show(part.size)

    def _check_disk(self, missing: int, place: Path) -> None:
        """Raise HubError where the disk cannot hold `missing` more bytes."""
        free = shutil.disk_usage(place.parent).free
        lack = missing + SPARE_BYTES - free
        if lack > 0:
            raise HubError(
                f"{megabytes(missing)} do not fit the disk of the Hugging Face cache: "
                f"{megabytes(lack)} are missing; free them, {DISK_CURE}"
            )

    @contextmanager
    def _locked(self, offer: _Offer) -> Iterator[None]:
        """Alone with these bytes: two processes make one download. Raises HubError, OSError."""
        from filelock import FileLock, Timeout

        lock = self._repository.lock(offer.etag)
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._repository.part(offer.etag).parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(lock)
        try:
            with suppress(Timeout):
                guard.acquire(timeout=0)
            if not guard.is_locked:
                self._log("another process downloads the same file: waiting for it")
                guard.acquire(timeout=self._deadline.left(), poll_interval=0.1)
        except Timeout as error:
            raise HubError(
                f"another process held the download for {self._deadline.seconds:g} s; "
                "wait for it or end it, then run again"
            ) from error
        except NotImplementedError as error:
            raise HubError(f"the cache's disk knows no file locks; {DISK_CURE}") from error
        try:
            yield
        finally:
            guard.release()

    def _exchange(self, method: str, url: str, fields: Mapping[str, str]) -> Exchange:
        """Begin a request. The token goes to the endpoint only, never along a redirect."""
        request = urllib.request.Request(url, headers=dict(fields), method=method)
        # A content coding would change the bytes that lengths, ranges and hashes speak of.
        request.add_header("Accept-Encoding", "identity")
        request.add_header("User-Agent", "adaptation-kit")
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)
        return Exchange(request)

    def _check_status(self, head: Head, *, accepted: tuple[int, ...]) -> None:
        """Return for an accepted status. Raises TransientError where a retry may help, HubError."""
        if head.status in accepted:
            return
        said = f"{head.host} answered HTTP {head.status}"
        code = (head.fields.get("X-Error-Code") or "")[:40]
        if code.isalnum():
            said += f" {code}"
        if head.status in _BUSY or head.status == 416:
            after = head.fields.get("Retry-After") or ""
            wait = float(after) if after.isdecimal() else None
            if wait is not None:
                said += f" and wants to be left alone for {wait:.0f} s"
            raise TransientError(said, answered=True, retry_after=wait)
        if head.status in (401, 403):
            page = f"https://huggingface.co/{self._hub_id}"
            cure = f"accept the terms at {page} and set HF_TOKEN, or pass --weights PATH"
            raise HubError(f"{said} (gated, private or absent); {cure}", outcome="refused")
        if head.status == 404:
            cure = "check the model's name and revision, or pass --weights PATH"
            raise HubError(f"{said}; {cure}", outcome="absent")
        raise HubError(f"{said}; {MIRROR_CURE}")
