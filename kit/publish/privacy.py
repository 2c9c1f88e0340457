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
from kit.machine.private import START, path_in, secrets_in, without_paths
from kit.publish.contents import ROOT

_EVERYBODYS = ("/", "/usr", "/usr/local", "/opt", "/tmp")
_EMBEDDED = re.compile(r"base64,[A-Za-z0-9+/=]+")


def shorten_paths(text: str) -> str:
    """A log's text without its absolute paths: homes become ~, and of any other its end is left."""
    for _, pattern, short in _local_places():
        text = pattern.sub(short, text)
    return without_paths(text, _end_of)


def refuse_private(files: Mapping[str, bytes]) -> None:
    """Raise UsageError for the first secret or absolute path in a text file, naming file and line, and
    in a JSON document the field."""
    for name, content in sorted(files.items()):
        try:
            text = _EMBEDDED.sub("", content.decode("utf-8"))
        except UnicodeDecodeError:
            continue  # images and tensors
        passages = list(_passages(name, text))
        if not _may_be_private("\n".join(value for _, value in passages)):
            continue  # most files: one search is much faster than one for every line
        for where, value in passages:
            for what, _ in secrets_in(value):
                raise UsageError(
                    f"{name}: {where} holds {what}",
                    "remove it there, and make it invalid where it was issued, before you export",
                )
            if _has_path(value):
                raise UsageError(
                    f"{name}: {where} holds an absolute path, which tells of a machine",
                    "take it out, or make the run again without it",
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


def _may_be_private(text: str) -> bool:
    """Whether any line of `text` holds a secret or a path, or two together look as if they did."""
    return any(secrets_in(text)) or _has_path(text)


def _has_path(text: str) -> bool:
    return bool(path_in(text)) or any(
        place in text and pattern.search(text) for place, pattern, _ in _local_places()
    )


@cache
def _local_places() -> list[tuple[str, re.Pattern[str], str]]:
    """This machine's own places, where one stands in a text, and what stands for it, the longest first;
    spaces are no obstacle."""
    places = {str(Path.home()): "~", str(ROOT): "...", sys.prefix: "..."}
    places |= {
        str(Path(os.environ[name]).expanduser()): "..."
        for name in ("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_CACHE", "TMPDIR")
        if os.environ.get(name)
    }
    personal = [place for place in places if place.startswith("/") and place not in _EVERYBODYS]
    return [
        (place, re.compile(START + re.escape(place) + r"(?![\w.-])"), places[place])
        for place in sorted(personal, key=len, reverse=True)
    ]


def _end_of(path: str) -> str:
    """`.../site-packages/...` where a library's file is named, else the last part."""
    parts = path.replace("\\", "/").rstrip("/").split("/")
    start = parts.index("site-packages") if "site-packages" in parts else len(parts) - 1
    return "/".join(["...", *parts[start:]])
