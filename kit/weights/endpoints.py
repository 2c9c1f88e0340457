"""Which hosts may be asked for a model, and what of their addresses may be shown. Light to import."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

from kit.errors import UsageError
from kit.words import Reason

_ADDRESS = re.compile(r"https?://[^/?#\[\]]+(/[^?#\[\]]*)?")


def is_address(url: str) -> bool:
    """Whether `url` is a plain http(s) address that file names can be appended to."""
    try:
        # Printable ASCII: no other goes through HTTP as it is.
        plain = re.fullmatch("[!-~]+", url) is not None
        return plain and _ADDRESS.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:  # no number where the port is: a slash in a password, say
        return False


def endpoint() -> str:
    """HF_ENDPOINT or the hub itself; it may hold credentials: see `shown`."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def mirror_list(named: Sequence[str] = ()) -> tuple[str, ...]:
    """The mirrors of `--mirror`, then those of KIT_MIRRORS (commas or spaces between), each once.

    Raises UsageError for one that is no http(s) address.
    """
    listed = re.findall(r"[^,\s]+", os.environ.get("KIT_MIRRORS", ""))
    mirrors = dict.fromkeys(url.rstrip("/") for url in (*named, *listed))
    for url in mirrors:
        if not is_address(url):
            raise UsageError(
                Reason("no_mirror_address", mirror=repr(shown(url))), Reason("give_mirror")
            )
    return tuple(mirrors)


def is_endpoint_host(url: str) -> bool:
    """Whether `url` is on the endpoint's own host, the only one that may see the user's token."""
    ours, theirs = urlsplit(shown(endpoint())), urlsplit(shown(url))
    return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)


def offline_by_environment() -> str | None:
    """The variable that forbids the network, as the library reads it; None where none does."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return name
    return None


def file_url(base: str, hub_id: str, revision: str, name: str) -> str:
    """The address of one file at one revision."""
    return f"{base}/{hub_id}/resolve/{quote(revision, safe='')}/{quote(name)}"


def shown(url: str) -> str:
    """The address for people and records: no credentials, no query.

    Nothing of one in which a password may stand where none is looked for.
    """
    try:
        parts = urlsplit(url)
        readable = parts.port != 0 and "@" not in parts.query + parts.fragment
    except ValueError:
        readable = False
    if not readable:
        return "(an unreadable address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
