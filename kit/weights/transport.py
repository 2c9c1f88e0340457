"""Requests to the hub: who asks, and one exchange whose every wait has an end."""

from __future__ import annotations

import base64
import os
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import IO, Any, Literal
from urllib.parse import unquote, urlsplit

from kit.weights import progress
from kit.weights.endpoints import is_address, is_endpoint_host
from kit.weights.progress import TransientError

MIRROR_CURE = (
    "set HF_ENDPOINT to a mirror such as https://hf-mirror.com or name it with --mirror, or fetch "
    "the file on another machine and pass it as --weights PATH"
)

# Read from the network at a time: with 64 KiB a download over loopback takes three times as long.
_READ_BYTES = 1 << 20


class HubError(Exception):
    """The hub gave no file. The message is one line that ends with the cure.

    `answered`: the host had said something, so asking it for another file may make sense.
    """

    def __init__(
        self,
        reason: str,
        *,
        answered: bool = True,
        outcome: Literal["absent", "refused", "failed"] = "failed",
    ) -> None:
        super().__init__(" ".join(reason.split()))
        self.answered = answered
        self.outcome = outcome


def authorization(base: str) -> str | None:
    """The Authorization header for the host `base`: its address's credentials, else the token.

    The token is for the endpoint's host alone, no mirror ever sees it. Raises HubError where
    `base` is no http(s) address, which only HF_ENDPOINT can be (mirrors are checked before).
    """
    if not is_address(base):
        raise HubError("HF_ENDPOINT is no http(s) address; set it like https://hf-mirror.com")
    user = urlsplit(base).netloc.rpartition("@")[0]
    if user:
        return "Basic " + base64.b64encode(unquote(user).encode()).decode()
    token = _token() if is_endpoint_host(base) else None
    return f"Bearer {token}" if token else None


def _token() -> str | None:
    """The user's token, from wherever the library finds it."""
    if os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in ("1", "ON", "YES", "TRUE"):
        return None
    try:
        from huggingface_hub import get_token  # only here: it takes a while to import
    except ImportError:
        return None
    token: str | None = get_token()
    return token


@dataclass(frozen=True, kw_only=True)
class Head:
    """The status line and fields of an answer, and the host that gave it."""

    host: str
    status: int
    fields: Message

    def check_length(self, *, start: int, total: int) -> None:
        """Raise TransientError unless the body is bytes `start` to the end of `total`."""
        length = self.fields.get("Content-Length")
        span = self.fields.get("Content-Range")
        if length is not None and length != str(total - start):
            raise TransientError(
                f"{self.host} announces {length[:20]} bytes where {total - start} are missing",
                answered=True,
            )
        if self.status == 206 and span != f"bytes {start}-{total - 1}/{total}":
            raise TransientError(f"{self.host} sends another range than asked", answered=True)


class Exchange:
    """One request and its answer, read by a daemon thread into a short queue.

    A socket's timeout bounds one operation, not name resolution and not a host that drips; waiting
    on a queue is bounded by any deadline. The thread touches neither disk nor locks, so one that
    still hangs in the resolver when the caller has left can do no harm, nor hold up the exit.
    """

    def __init__(self, request: urllib.request.Request) -> None:
        self._items: queue.Queue[Head | bytes | Exception] = queue.Queue(maxsize=4)
        self._abandoned = threading.Event()
        self._redirects = _Redirects(request.host)
        thread = threading.Thread(target=self._run, args=(request,), daemon=True, name="hub")
        thread.start()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned.set()

    def head(self, seconds: float) -> Head:
        """The answer's head. Raises TransientError, HubError; waits `seconds` at most."""
        item = self._next(seconds, answered=False)
        assert isinstance(item, Head)
        return item

    def chunk(self, seconds: float) -> bytes:
        """Some bytes of the body, never none. Raises as head() does, also at an early end."""
        item = self._next(seconds, answered=True)
        assert isinstance(item, bytes)
        if not item:
            raise TransientError(f"{self._redirects.host} cut the file short", answered=True)
        return item

    def _next(self, seconds: float, *, answered: bool) -> Head | bytes:
        host = self._redirects.host
        what = "stalled" if answered else "did not answer"
        silent = TransientError(f"{host} {what} for {seconds:.1f} s", answered=answered)
        if seconds <= 0:
            raise silent
        try:
            item = self._items.get(timeout=seconds)
        except queue.Empty:
            raise silent from None
        if isinstance(item, Exception):
            raise _network_error(item, host=host, answered=answered) from item
        return item

    def _run(self, request: urllib.request.Request) -> None:
        try:
            with _open(request, self._redirects) as answer:
                host = self._redirects.host
                self._put(Head(host=host, status=answer.status, fields=answer.headers))
                # read1: what one recv gives, so that a slow line is seen moving.
                while not self._abandoned.is_set() and (chunk := answer.read1(_READ_BYTES)):
                    self._put(chunk)
                self._put(b"")
        except Exception as error:  # whatever it is, the waiting caller has to hear of it
            self._put(error)

    def _put(self, item: Head | bytes | Exception) -> None:
        while not self._abandoned.is_set():
            try:
                self._items.put(item, timeout=0.5)
                return
            except queue.Full:
                continue


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect with the same method; credentials stay with the host they are for.

    A HEAD is followed only on its own host: the hub's answer that points to a storage host carries
    the file's facts (X-Linked-Etag, X-Repo-Commit) itself.
    """

    def __init__(self, host: str) -> None:
        self.host = host

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        same_host = (old.scheme, old.netloc) == (new.scheme, new.netloc)
        downgraded = old.scheme == "https" and new.scheme != "https"
        if downgraded or (req.get_method() == "HEAD" and not same_host):
            return None
        self.host = re.sub(r"[^\w.:\[\]-]", "?", new.netloc.rpartition("@")[2])
        again = urllib.request.Request(newurl, headers=req.headers, method=req.get_method())
        if same_host and req.has_header("Authorization"):
            again.add_unredirected_header("Authorization", req.get_header("Authorization") or "")
        return again


def _open(request: urllib.request.Request, redirects: _Redirects) -> Any:
    """Send the request through the environment's proxies; the answer, whatever its status."""
    opener = urllib.request.OpenerDirector()  # not build_opener: that one also opens file: and ftp:
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        redirects,
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        # Only for a thread whose caller has left: whoever still waits decides sooner.
        return opener.open(request, timeout=2 * progress.STALL_SECONDS)
    except urllib.error.HTTPError as answer:
        return answer


def _network_error(error: Exception, *, host: str, answered: bool) -> TransientError | HubError:
    """What went wrong on the way, in words; only faults that may pass are worth a retry."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = "set SSL_CERT_FILE to your network's authorities, or pass --weights PATH"
        return HubError(f"{host} has a certificate nobody vouches for; {cure}")
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        return TransientError(f"{host}: {what}", answered=answered)
    if isinstance(error, HTTPException):  # its text may quote an address with a signature in it
        return TransientError(f"{host}: no sound HTTP ({type(error).__name__})", answered=answered)
    return HubError(f"{host} cannot be asked ({type(error).__name__}); {MIRROR_CURE}")
