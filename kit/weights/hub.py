"""The hub's protocol: what a file is, and its bytes, from any host that speaks it.

Why the kit has a transport of its own: neither generation of huggingface_hub has a total deadline
(measured: 397 s on a host that accepts and never answers, no end at all on a trickle), the 2.x line
does not resume after a kill, and no client verifies a hash. The cache's layout, lock files, ETags
and token are the library's, so it finds what is downloaded here and never downloads it twice.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from kit.errors import visible
from kit.storage.hashes import PartialFile, is_git_sha1, is_sha256
from kit.weights import progress
from kit.weights.caches import is_commit
from kit.weights.credentials import Credentials, credentials_for
from kit.weights.endpoints import file_url, is_address, is_endpoint_host, shown
from kit.weights.progress import Deadline, Patience, Progress, TransientError, megabytes
from kit.weights.transport import Exchange, Head, HubError
from kit.words import Reason

T = TypeVar("T")

_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a host says of a file: `etag` names its bytes (a large file's sha256)."""

    etag: str
    size: int
    commit: str

    @property
    def sha256(self) -> str | None:
        """The sha256 that the host gives the bytes, as hubs do for large files."""
        return self.etag if is_sha256(self.etag) else None

    @property
    def git_sha1(self) -> str | None:
        """The git blob name that the host gives the bytes, as hubs do for small files."""
        return self.etag if is_git_sha1(self.etag) else None


class _RefusedError(HubError):
    """The host wants to be asked by somebody else; `answer` is what it said."""

    def __init__(self, answer: Reason, why: Reason, cure: str) -> None:
        super().__init__(Reason("refused_for", answer=answer, why=why), cure, outcome="refused")
        self.answer = answer


class HubClient:
    """Asks one host for files of one model under one deadline, with bounded retries.

    `base` is the host's address; one that says nothing is left after `answer_seconds`. `received`
    counts body bytes off the network; `remark` is what became of the user's token where it was of no use.
    """

    def __init__(
        self,
        hub_id: str,
        base: str,
        *,
        answer_seconds: float,
        deadline: Deadline,
        log: Callable[[str], None],
    ) -> None:
        self.received = 0
        self.remark: Reason | None = None
        self.hub_id = hub_id
        self.deadline = deadline
        self.log = log
        # A mirror's word for a hash is its own, not the hub's.
        self.vouches = is_endpoint_host(base)
        self._base = base
        self._answer_seconds = answer_seconds
        self._credentials: Credentials | None = None

    def shorten(self, seconds: float) -> None:
        """What follows may take `seconds` at most, and never more than what was left."""
        self.deadline = Deadline(min(seconds, self.deadline.left()))

    def url(self, name: str, revision: str) -> str:
        """The file's address, without credentials."""
        return file_url(shown(self._base), self.hub_id, revision, name)

    def describe(self, name: str, *, revision: str) -> Offer:
        """Ask what the file is, without the user's token where the host refuses that. Raises HubError."""
        if not is_address(self._base):  # only HF_ENDPOINT can be none: mirrors are checked before
            raise HubError(Reason("no_endpoint"), Reason("set_endpoint"))
        url = self.url(name, revision)

        def ask() -> Offer:
            return self._retrying(lambda patience: self._describe(url, revision, patience))

        if self.remark is None:
            self._credentials = credentials_for(self._base)
        token = self._credentials
        if token is None or not token.is_token:
            return ask()
        if token.header is None:
            self._leave_token(Reason("no_token", name=token.name))
            return ask()
        try:
            return ask()
        except _RefusedError as error:
            self._leave_token(Reason("token_refused", name=token.name, answer=error.answer))
            return ask()

    def _leave_token(self, why: Reason) -> None:
        """Ask without the token from now on: a public model needs none."""
        self.remark = Reason("token_left", why=why)
        self._credentials = None
        self.log(f"{why}: asking without it")

    def receive(self, name: str, *, revision: str, part: PartialFile, offer: Offer) -> None:
        """Append to the part until it has the offered size. Raises HubError, OSError."""
        url = self.url(name, revision)
        at = f" from byte {part.size}" if part.size else ""
        self.log(f"downloading {name} ({megabytes(offer.size)}){at} from {shown(self._base)}")
        bar = Progress(name, total=offer.size, start=part.size, log=self.log)
        try:
            self._retrying(lambda patience: self._receive(url, part, offer, bar, patience))
        except HubError as error:
            if not part.size:
                raise
            kept = Reason("resumable", why=error.reason, byte=part.size)
            raise HubError(
                kept, error.cure, answered=error.answered, outcome=error.outcome
            ) from error
        finally:
            bar.close()

    def _retrying(self, step: Callable[[Patience], T]) -> T:
        """Run `step` until it is through, its tries are used up or the deadline ends."""
        patience = Patience(self.deadline, self._answer_seconds)
        while True:
            try:
                return step(patience)
            except TransientError as error:
                seconds = patience.pause_after(error)
                if seconds is None:
                    raise self._given_up(error, patience.tries) from error
                self.log(f"{error.reason}: trying again in {seconds:.1f} s")
                time.sleep(seconds)

    def _given_up(self, error: TransientError, tries: int) -> HubError:
        if self.deadline.left() <= 0:
            reason = Reason("deadline_on", seconds=self.deadline.seconds, why=error.reason)
            cure: str | None = Reason("raise_timeout_or", cure=error.cure or "")
        else:
            reason, cure = Reason("tries", why=error.reason, tries=tries), error.cure
        return HubError(reason, cure, answered=error.answered)

    def _describe(self, url: str, revision: str, patience: Patience) -> Offer:
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
            raise HubError(Reason("no_hub", who=head.who), head.cure)
        if not is_commit(commit) or (is_commit(revision) and commit != revision):
            raise HubError(Reason("no_commit", who=head.who), head.cure)
        return Offer(etag=etag, size=int(size), commit=commit)

    def _receive(
        self, url: str, part: PartialFile, offer: Offer, bar: Progress, patience: Patience
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
                limit = min(progress.STALL_SECONDS, self.deadline.left())
                chunk = exchange.chunk(limit)
                self.received += len(chunk)
                if part.size + len(chunk) > offer.size:
                    raise head.fault("more_than_announced")
                part.append(chunk)
                patience.progressed()
                bar.show(part.size)

    def _exchange(self, method: str, url: str, fields: Mapping[str, str]) -> Exchange:
        """Begin a request. The token goes to the endpoint only, never along a redirect."""
        request = urllib.request.Request(url, headers=dict(fields), method=method)
        # A content coding would change the bytes that lengths, ranges and hashes speak of.
        request.add_header("Accept-Encoding", "identity")
        request.add_header("User-Agent", "adaptation-kit")
        if self._credentials and self._credentials.header:
            request.add_unredirected_header("Authorization", self._credentials.header)
        return Exchange(request)

    def _check_status(self, head: Head, *, accepted: tuple[int, ...]) -> None:
        """Return for an accepted status. Raises TransientError where a retry may help, HubError."""
        if head.status in accepted:
            return
        said = Reason("status_of", who=head.who, status=head.status, said=self._words_of(head))
        if head.status in _BUSY or head.status == 416:
            after = head.fields.get("Retry-After") or ""
            wait = float(after) if after.isdecimal() else None
            if wait is not None:
                said = Reason("left_alone", answer=said, seconds=wait)
            raise TransientError(said, head.cure, answered=True, retry_after=wait)
        if head.status in (401, 403):
            raise _RefusedError(said, *self._why_refused(head))
        if head.status == 404:
            raise HubError(said, Reason("check_name"), outcome="absent")
        raise HubError(said, head.cure)

    def _words_of(self, head: Head) -> str:
        """The hub's own code and message of an error: one line of bounded length, never our own secret."""
        code = (head.fields.get("X-Error-Code") or "")[:40]
        message = head.fields.get("X-Error-Message") or ""
        # http.client takes the bytes of a field for Latin-1.
        message = message.encode("latin-1", "replace").decode("utf-8", "replace")
        secret = ((self._credentials and self._credentials.header) or "").partition(" ")[2]
        if secret and secret in message:
            message = ""
        said = f" {code}" if code.isalnum() else ""
        return said + (f' "{visible(" ".join(message.split()))[:200]}"' if message.strip() else "")

    def _why_refused(self, head: Head) -> tuple[Reason, Reason]:
        """Why a host may have refused, and the cure."""
        if head.redirected:  # its address is signed for some minutes, by the hub
            return Reason("for_signature"), Reason("check_clock")
        if self._credentials and not self._credentials.is_token:
            to = Reason("for_credentials", name=self._credentials.name)
            return to, Reason("correct_credentials")
        page = f"https://huggingface.co/{self.hub_id}"
        if self.remark:
            cure = Reason("accept_terms_anew", page=page)
            return Reason("for_token", remark=self.remark), cure
        return Reason("for_gate"), Reason("accept_terms", page=page)
