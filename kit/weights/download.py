"""Files into the Hugging Face cache: resumed, verified, and given their name only when they are whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.errors import words_of
from kit.storage.hashes import PartialFile, git_sha1_of, sha256_of, state_of
from kit.weights.caches import HubRepository
from kit.weights.hub import HubClient, Offer
from kit.weights.progress import megabytes
from kit.weights.roots import hf_root
from kit.weights.transport import HubError
from kit.weights.weight_file import HashOrigin, WeightFile
from kit.words import Reason

# Left free for everything else on the disk.
SPARE_BYTES = 16_000_000


def fetch(
    client: HubClient,
    name: str,
    *,
    revision: str,
    sha256: str | None,
    sized: Callable[[int], None] = lambda size: None,
) -> WeightFile:
    """The file in the cache, downloaded where needed; `sha256` is the published one. `sized` is told the
    size before, and may raise.

    Raises HubError, whatever the network or the disk does, within the client's deadline.
    """
    offer = client.describe(name, revision=revision)
    sized(offer.size)
    if sha256 is not None and offer.sha256 not in (None, sha256):
        raise HubError(
            Reason("other_bytes", offered=str(offer.sha256), published=sha256),
            Reason("take_mirror"),
            outcome="refused",
        )
    download = _Download(client, name, revision=revision, offer=offer, published=sha256)
    try:
        with download.locked():
            blob, digest = download.held() or download.run()
        path = download.place(blob)
        state = state_of(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        said = words_of(error)
        why = Reason("cache_not_written", said=said)
        if full:
            why = Reason("cache_full", said=said, needed=megabytes(offer.size))
        take = Reason("take_disk")
        raise HubError(why, Reason("free_disk", or_else=take) if full else take) from error
    return WeightFile(
        name=name,
        path=path,
        bytes=offer.size,
        sha256=digest,
        hash_origin=download.origin,
        revision=offer.commit if download.origin != "computed" else None,
        state=state,
    )


class _Download:
    """One offered file on its way into the cache."""

    def __init__(
        self,
        client: HubClient,
        name: str,
        *,
        revision: str,
        offer: Offer,
        published: str | None,
    ) -> None:
        self._client, self._name, self._revision, self._offer = client, name, revision, offer
        self._known = published or offer.sha256
        self._repository = HubRepository(hf_root(), client.hub_id)
        # Some mirrors name bytes in a way of their own: a known hash lets a part of the hub go on.
        named = offer.sha256 or offer.git_sha1 or published
        self._key = named or offer.etag
        vouched = client.vouches and (offer.sha256 or offer.git_sha1)
        self.origin: HashOrigin = "published" if published else "hub" if vouched else "computed"

    def held(self) -> tuple[Path, str] | None:
        """The blob and its sha256 where another process, or the library, has put it already."""
        for blob in self._repository.blobs(self._key):
            if blob.is_file() and blob.stat().st_size == self._offer.size:
                digest = sha256_of(blob)
                if self._fits(blob, digest):
                    return blob, digest
        return None

    def run(self) -> tuple[Path, str]:
        """Resume or begin the partial file, verify it, give it its name. Raises HubError, OSError.

        A file gets its final name only with the right hash and all its bytes on the disk, so a
        kill at any moment leaves either nothing new or a good file.
        """
        part = PartialFile(self._repository.part(self._key))
        try:
            resumed = 0 < part.size <= self._offer.size
            self._receive(part)
            if resumed and not self._fits(part.path, part.sha256()):
                self._client.log(
                    f"{self._name}: the earlier run's part is damaged, beginning again"
                )
                part.restart()
                self._receive(part)
            digest = part.sha256()
            part.sync()
        finally:
            part.close()
        # The size again: where the disk's locks do not hold, somebody else may have appended.
        if not self._fits(part.path, digest) or part.path.stat().st_size != self._offer.size:
            part.path.unlink()
            wanted = self._known or self._offer.git_sha1
            raise HubError(
                Reason("changed_on_the_way", sha256=digest, wanted=str(wanted)),
                Reason("take_mirror"),
                outcome="refused",
            )
        blob, beside = self._repository.blobs(self._key)
        # A damaged blob in the place of this one is not the kit's to move; and under the hub's
        # name for it, bytes that only a mirror vouches for would pass for the hub's.
        target = beside if self.origin == "computed" or os.path.lexists(blob) else blob
        part.path.replace(target)
        return target, digest

    def place(self, blob: Path) -> Path:
        """Give the finished bytes their name in the snapshot. Raises OSError."""
        return self._repository.place(
            blob, commit=self._offer.commit, revision=self._revision, name=self._name
        )

    def _fits(self, path: Path, digest: str) -> bool:
        """Whether the bytes at `path`, with this sha256, are those that were published or offered."""
        if self._known is not None:
            return digest == self._known
        return self._offer.git_sha1 in (None, git_sha1_of(path))

    def _receive(self, part: PartialFile) -> None:
        """Fill the part where it is not full. Raises HubError, OSError."""
        if part.size > self._offer.size:
            part.restart()
        if part.size == self._offer.size:
            return  # killed between the last byte and the final name
        self._check_disk(self._offer.size - part.size, part.path)
        self._client.receive(self._name, revision=self._revision, part=part, offer=self._offer)

    def _check_disk(self, missing: int, place: Path) -> None:
        """Raise HubError where the disk cannot hold `missing` more bytes."""
        free = shutil.disk_usage(place.parent).free
        lack = missing + SPARE_BYTES - free
        if lack > 0:
            why = Reason("disk", needed=megabytes(missing), missing=megabytes(lack))
            raise HubError(why, Reason("free_disk", or_else=Reason("take_disk")))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with these bytes: two processes make one download. Raises HubError, OSError."""
        from filelock import FileLock, Timeout

        lock = self._repository.lock(self._key)
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._repository.part(self._key).parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(lock)
        try:
            with suppress(Timeout):
                guard.acquire(timeout=0)
            if not guard.is_locked:
                self._client.log("another process downloads the same file: waiting for it")
                guard.acquire(timeout=self._client.deadline.left(), poll_interval=0.1)
        except Timeout as error:
            why = Reason("held", seconds=self._client.deadline.seconds)
            raise HubError(why, Reason("end_download")) from error
        except NotImplementedError as error:
            raise HubError(Reason("no_locks"), Reason("take_disk")) from error
        try:
            yield
        finally:
            guard.release()
