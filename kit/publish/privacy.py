"""What must not be published: secrets, and absolute paths, which tell of the machine and its owner."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from kit.errors import UsageError
from kit.publish.contents import ROOT

_SECRETS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{16,}",
    "a GitHub or GitLab token": r"\b(?:gh[pousr]_|github_pat_|glpat-)[\w-]{16,}",
    "an access key": r"\bAKIA[0-9A-Z]{16}\b",
    "a ModelScope token": r"\bms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{14,}",
    "an Authorization header": r"(?i)\bauthorization\W{1,4}(?:bearer|basic|token)\s+[\w.+/=-]{6,}",
    "a bearer token": r"(?i)\bbearer\s+[\w.+/=-]{20,}",
    "a password in an address": r"(?i)\b[a-z][a-z+.-]+://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_SECRET = {what: re.compile(pattern) for what, pattern in _SECRETS.items()}
# Where a path may begin: not within a word, an address, a relative or an already shortened path.
_START = r"(?<![\w.~/%+\\-])"
# (The patterns are spelled so that they do not find themselves here.)
# At least two parts, so that a fraction or a closing tag is none; places every system has are no secret.
_PATH = re.compile(
    _START + r"/(?!(?:usr|proc|sys|dev|etc|lib|lib64|bin|sbin)/)[\w.@%+~-]+(?:/[\w.@%+~-]+)+"
    r"|file:/{3}[^\s\"'<>]+"
    r"|(?<!\w)[A-Za-z]:\\+(?:Users|home|[\w.-]+\\)[^\s\"'<>]*"
)
_HOME = re.compile(_START + r"(?:/(?:home|Users)/[^/\s\"':;,)\]]+|/[r]oot(?![\w.-]))")
_EVERYBODYS = ("/", "/usr", "/usr/local", "/opt", "/tmp")
_EMBEDDED = re.compile(r"base64,[A-Za-z0-9+/=]+")


def shorten_paths(text: str) -> str:
    """A log's text without its absolute paths: homes become ~, and of any other its end is left."""
    for place, short in _local_places():
        text = place.sub(short, text)
    return _PATH.sub(lambda match: _end_of(match.group()), _HOME.sub("~", text))


def refuse_private(files: Mapping[str, bytes]) -> None:
    """Raise UsageError for the first secret or absolute path in a text file, naming file and line, and
    in a JSON document the field."""
    for name, content in sorted(files.items()):
        try:
            text = _EMBEDDED.sub("", content.decode("utf-8"))
        except UnicodeDecodeError:
            continue  # images and tensors
        for where, value in _passages(name, text):
            if what := _secret_in(value):
                raise UsageError(
                    f"{name}: {where} holds {what}: remove it there, and make it invalid where it was "
                    "issued, before you export"
                )
            if _has_path(value):
                raise UsageError(
                    f"{name}: {where} holds an absolute path, which tells of a machine: take it out, or "
                    "make the run again without it"
                )


def _passages(name: str, text: str) -> Iterator[tuple[str, str]]:
    """What a text says, and where: of JSON the decoded values, since escapes hide things; every line."""
    lines = text.splitlines()
    documents: dict[str, Any] = {}
    with suppress(ValueError):  # no JSON, whatever it is called
        if name.endswith(".json"):
            documents = {"": json.loads(text)}
        elif name.endswith(".jsonl"):
            documents = {f"line {at}, ": json.loads(line) for at, line in enumerate(lines, 1)}
    for where, document in documents.items():
        for field, value in _strings(document):
            yield f"{where}{field}", value
    for number, line in enumerate(lines, 1):
        yield f"line {number}", line


def _strings(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a document, keys too, with the dotted name of its field."""
    if isinstance(value, str):
        yield field or "the document", value
    elif isinstance(value, dict):
        for key, item in value.items():
            dotted = f"{field}.{key}" if field else key
            yield dotted, key
            yield from _strings(item, dotted)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{field}[{number}]")


def _secret_in(text: str) -> str | None:
    return next((what for what, pattern in _SECRET.items() if pattern.search(text)), None)


def _has_path(text: str) -> bool:
    found = (_PATH, _HOME, *(place for place, _ in _local_places()))
    return any(pattern.search(text) for pattern in found)


@cache
def _local_places() -> list[tuple[re.Pattern[str], str]]:
    """This machine's own places and what stands for each, the longest first; spaces are no obstacle."""
    places = {str(Path.home()): "~", str(ROOT): "...", sys.prefix: "..."}
    places |= {
        str(Path(os.environ[name]).expanduser()): "..."
        for name in ("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_CACHE", "TMPDIR")
        if os.environ.get(name)
    }
    personal = [place for place in places if place.startswith("/") and place not in _EVERYBODYS]
    return [
        (re.compile(_START + re.escape(place) + r"(?![\w.-])"), places[place])
        for place in sorted(personal, key=len, reverse=True)
    ]


def _end_of(path: str) -> str:
    """`.../site-packages/...` where a library's file is named, else the last part."""
    parts = path.replace("\\", "/").rstrip("/").split("/")
    start = parts.index("site-packages") if "site-packages" in parts else len(parts) - 1
    return "/".join(["...", *parts[start:]])
