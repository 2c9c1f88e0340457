"""Who asks the hub: the user's token, or the user and password in a host's address."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from kit.weights.endpoints import is_endpoint_host

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Credentials:
    """What is sent in the header Authorization; `name` tells people which credentials these are.

    `is_token`: without it a public model can be had as well. `header` is None for a token that cannot be
    sent, since it holds characters that no token has.
    """

    name: str
    is_token: bool
    header: str | None


def credentials_for(base: str) -> Credentials | None:
    """What is sent to the host `base`, an http(s) address: its own credentials, else the token.

    The token is for the endpoint's host alone, no mirror ever sees it.
    """
    user = urlsplit(base).netloc.rpartition("@")[0]
    if user:
        encoded = base64.b64encode(unquote(user).encode()).decode()
        return Credentials("the user and password in its address", False, f"Basic {encoded}")
    token = _token() if is_endpoint_host(base) else None
    if not token:
        return None
    named = next((name for name in _VARIABLES if os.environ.get(name)), None)
    name = f"the token of {named}" if named else "the token that hf auth login left"
    sound = re.fullmatch(r"[!-~]{1,1000}", token) is not None
    return Credentials(name, True, f"Bearer {token}" if sound else None)


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
