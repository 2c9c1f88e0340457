"""The environment's proxies: through which one a request goes, and what may be told of it."""

from __future__ import annotations

import os
import re
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from kit.words import Reason

# ALL_PROXY counts for a scheme that has no proxy of its own, as in curl and in the hub's library.
_EVERY = "all"
_SPOKEN = ("", "http", "https")


@dataclass(frozen=True)
class Proxy:
    """A proxy and the variable that names it; `address` may hold a user and a password."""

    address: str
    variable: str

    @property
    def is_spoken(self) -> bool:
        """Whether the kit can go through it: it speaks HTTP's way only, not SOCKS."""
        return self._parts()[0].lower() in _SPOKEN

    @property
    def cure(self) -> Reason:
        """What to do where it is in the way."""
        return Reason("leave_proxy", variable=self.variable)

    def __str__(self) -> str:
        """Its address without credentials, and the variable."""
        scheme, host = self._parts()
        host = re.sub(r"[^\w.:\[\]-]", "?", host[:200], flags=re.ASCII)
        return f"the proxy {scheme[:20]}{'://' if scheme else ''}{host} of {self.variable}"

    def _parts(self) -> tuple[str, str]:
        """Scheme and host with port. What stands before an @ is never part of either."""
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", self.address)
        scheme, rest = (match[1], self.address[match.end() :]) if match else ("", self.address)
        return scheme, re.split(r"[/?#]", rest.rpartition("@")[2])[0]


def proxies() -> dict[str, str]:
    """The proxy's address for each scheme that has one."""
    found = urllib.request.getproxies()
    named = {scheme: found.get(scheme) or found.get(_EVERY) for scheme in ("http", "https")}
    return {scheme: address for scheme, address in named.items() if address}


def proxy_of(url: str) -> Proxy | None:
    """The proxy that a request for `url` goes through; None where it goes straight."""
    parts = urlsplit(url)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    address = proxies().get(parts.scheme)
    return None if address is None else Proxy(address, _variable(parts.scheme, address))


def _variable(scheme: str, address: str) -> str:
    for wanted in (f"{scheme}_proxy", f"{_EVERY}_proxy"):
        for name in sorted(
            os.environ, reverse=True
        ):  # as urllib: the name in small letters counts first
            if name.lower() == wanted and os.environ[name] == address:
                return name
    return "the system's settings"
