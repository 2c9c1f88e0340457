"""The way of a request: through which proxy, and along which redirects.

The first host decides where the second is, so a redirect is believed as little as the rest of an answer:
nothing of the user's goes along, and no hub leads into the network of the machine that asks.
"""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import IPv6Address, ip_address
from typing import IO, Any
from urllib.parse import urlsplit

from kit.errors import Fault
from kit.weights.proxies import Proxy, proxies, proxy_of
from kit.words import Reason

# What another host may see of a request; above all no Authorization, no Cookie.
_CARRIED = ("Range", "Accept-encoding", "User-agent")


class RouteError(Fault):
    """A way that is not taken."""


class Route(urllib.request.HTTPRedirectHandler):
    """Where a request is at the moment. Its redirects keep the method.

    A HEAD is followed only on its own host: the hub's answer that points to a storage host carries
    the file's facts (X-Linked-Etag, X-Repo-Commit) itself.
    """

    def __init__(self, request: urllib.request.Request) -> None:
        self._first = self._url = request.full_url
        self._from_inside = _is_inside(self._first)
        self._redirected = False

    @property
    def host(self) -> str:
        """The host that is asked now, as it may be shown."""
        return _shown_host(self._url)

    @property
    def proxy(self) -> Proxy | None:
        """The proxy between this machine and that host."""
        return proxy_of(self._url)

    @property
    def who(self) -> str:
        """The host and, where there is one, the proxy before it: who may be at fault."""
        return _who(self._url)

    @property
    def was_redirected(self) -> bool:
        """Whether another host than the first is asked."""
        return _shown_host(self._first) != self.host

    def open(self, request: urllib.request.Request, seconds: float) -> Any:
        """Send the request; the answer, whatever its status. Raises RouteError and what urllib raises."""
        opener = (
            urllib.request.OpenerDirector()
        )  # not build_opener: that one also opens file: and ftp:
        for handler in (
            _ProxyHandler(proxies()),
            _Connecting(self),
            self,
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        try:
            return opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as answer:
            return answer

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request for the new address, None where it is not followed."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        same_host = (old.scheme, old.netloc) == (new.scheme, new.netloc)
        downgraded = old.scheme == "https" and new.scheme != "https"
        if downgraded or (req.get_method() == "HEAD" and not same_host):
            return None
        if not same_host and _is_inside(newurl):
            self._refuse_inside(newurl)
        self._redirected = True
        self._url = newurl
        kept = req.headers if same_host else {n: v for n, v in req.headers.items() if n in _CARRIED}
        again = urllib.request.Request(newurl, headers=kept, method=req.get_method())
        if same_host and req.has_header("Authorization"):
            again.add_unredirected_header("Authorization", req.get_header("Authorization") or "")
        return again

    def connect(
        self, address: tuple[str, int], timeout: float, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """A connection to a host by one of its addresses, each looked at before it is taken: what a name
        leads to is asked once. Raises OSError, RouteError."""
        host, port = address
        failed = OSError(f"{host} has no address")
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            found = str(place[0])
            direct = self.proxy is None
            if direct and not self._redirected:
                self._from_inside |= _is_private(found)
            elif direct and _is_private(found):
                self._refuse_inside(self._url)
            try:
                return socket.create_connection((found, port), timeout, source)
            except OSError as error:
                failed = error
        raise failed

    def _refuse_inside(self, url: str) -> None:
        """Raise RouteError for a private address, where the first host is not in that network itself."""
        if not self._from_inside:
            raise RouteError(
                Reason("redirects_inside", who=_who(self._first), host=_shown_host(url)),
                Reason("set_host_itself"),
            )


class _Connecting(urllib.request.HTTPHandler):
    """Has every connection made by the route."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self._route = route

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._made_by(HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._made_by(HTTPSConnection), req)

    https_request = urllib.request.HTTPHandler.http_request

    def _made_by(self, kind: type[HTTPConnection]) -> Any:
        def make(host: str, **options: Any) -> HTTPConnection:
            connection = kind(host, **options)
            connection._create_connection = self._route.connect  # type: ignore[attr-defined]
            return connection

        return make


class _ProxyHandler(urllib.request.ProxyHandler):
    """urllib's own, without what it makes of a proxy that speaks another protocol."""

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:
        through = proxy_of(req.full_url)
        if through is not None and not through.is_spoken:
            raise RouteError(
                Reason("no_http_proxy", who=_who(req.full_url)),
                Reason("name_http_proxy", cure=through.cure),
            )
        return super().proxy_open(req, proxy, type)


def _who(url: str) -> str:
    """The host and the proxy before it."""
    host, proxy = _shown_host(url), proxy_of(url)
    return f"{host} (through {proxy})" if proxy else host


def _shown_host(url: str) -> str:
    """The host and port of an address, without what acts on a terminal."""
    return re.sub(r"[^\w.:\[\]-]", "?", urlsplit(url).netloc.rpartition("@")[2])


def _is_inside(url: str) -> bool:
    """Whether the address, as it is written, leads into a private network or to this machine. What a name
    leads to is only known where it is connected to."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(OSError):  # 127.1, 0x7f000001 and their like
        host = socket.inet_ntoa(socket.inet_aton(host))
    return _is_private(host)


def _is_private(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False  # a name
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return not parsed.is_global
