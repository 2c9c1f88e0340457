"""Requests to the hub: one exchange, whose every wait has an end."""

from __future__ import annotations

import queue
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Literal

from kit.errors import Fault, visible
from kit.weights import progress
from kit.weights.progress import TransientError
from kit.weights.route import Route, RouteError
from kit.words import Reason, Value

# Read from the network at a time: with 64 KiB a download over loopback takes three times as long.
_READ_BYTES = 1 << 20


class HubError(Fault):
    """The hub gave no file.

    `answered`: the host had said something, so asking it for another file may make sense.
    """

    def __init__(
        self,
        what: Reason,
        cure: str | None,
        *,
        answered: bool = True,
        outcome: Literal["absent", "refused", "failed"] = "failed",
    ) -> None:
        super().__init__(what, cure)
        self.answered = answered
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True)
class Head:
    """The status line and fields of an answer, and how it came.

    `who` names the host that gave it and the proxy before it, `cure` is what to do where they are at fault;
    `redirected`: another host than the one that was asked gave it.
    """

    who: str
    cure: str
    redirected: bool
    status: int
    fields: Message

    def fault(self, code: str, **values: Value) -> TransientError:
        """The answer's fault, as an error that the next try may not meet."""
        return TransientError(Reason(code, who=self.who, **values), self.cure, answered=True)

    def check_length(self, *, start: int, total: int) -> None:
        """Raise TransientError unless the body is bytes `start` to the end of `total`."""
        length = self.fields.get("Content-Length")
        span = self.fields.get("Content-Range")
        if length is not None and length != str(total - start):
            raise self.fault("other_length", length=length[:20], missing=total - start)
        if self.status == 206 and span != f"bytes {start}-{total - 1}/{total}":
            raise self.fault("other_range")


class Exchange:
    """One request and its answer, read by a daemon thread into a short queue.

    A socket's timeout bounds one operation, not name resolution and not a host that drips; waiting
    on a queue is bounded by any deadline. The thread touches neither disk nor locks, so one that
    still hangs in the resolver when the caller has left can do no harm, nor hold up the exit.
    """

    def __init__(self, request: urllib.request.Request) -> None:
        self._items: queue.Queue[Head | bytes | Exception] = queue.Queue(maxsize=4)
        self._abandoned = threading.Event()
        self._route = Route(request)
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
            raise self._transient("cut_short", answered=True)
        return item

    def _next(self, seconds: float, *, answered: bool) -> Head | bytes:
        code = "stalled" if answered else "silent"
        silent = self._transient(code, seconds=seconds, answered=answered)
        if seconds <= 0:
            raise silent
        try:
            item = self._items.get(timeout=seconds)
        except queue.Empty:
            raise silent from None
        if isinstance(item, Exception):
            raise self._network_error(item, answered) from item
        return item

    def _transient(self, code: str, *, answered: bool, **values: Value) -> TransientError:
        reason = Reason(code, who=self._route.who, **values)
        return TransientError(reason, self._cure(), answered=answered)

    def _cure(self) -> str:
        """What to do where nothing better is known: what is between may be at fault, else the host is."""
        proxy = self._route.proxy
        return proxy.cure if proxy else Reason("take_mirror")

    def _network_error(self, error: Exception, answered: bool) -> TransientError | HubError:
        """What went wrong on the way, in words; only faults that may pass are worth a retry."""
        who = self._route.who
        if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
            error = error.reason
        if isinstance(error, RouteError):
            return HubError(error.reason, error.cure, outcome="refused")
        if isinstance(error, ssl.SSLCertVerificationError):
            return HubError(Reason("certificate", who=who), Reason("set_certificates"))
        if isinstance(error, OSError):
            what = visible(error.strerror or str(error) or type(error).__name__)[:200]
            return self._transient("network", what=what, answered=answered)
        if isinstance(error, HTTPException):  # its text may quote an address with a signature in it
            return self._transient("no_http", kind=type(error).__name__, answered=answered)
        return HubError(Reason("not_asked", who=who, kind=type(error).__name__), self._cure())

    def _run(self, request: urllib.request.Request) -> None:
        try:
            # The timeout is only for a thread whose caller has left: whoever still waits decides sooner.
            with self._route.open(request, 2 * progress.STALL_SECONDS) as answer:
                self._put(
                    Head(
                        who=self._route.who,
                        cure=self._cure(),
                        redirected=self._route.was_redirected,
                        status=answer.status,
                        fields=answer.headers,
                    )
                )
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
