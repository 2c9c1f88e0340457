"""Values that stand in a document as they are: each field says there what it means."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Documented(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value whose fields, with their meaning, unit and when they are null, are those of a document."""


def says(meaning: str, **limits: Any) -> msgspec.Meta:
    """What a field means, for the schema; `limits` are msgspec's (ge, le, pattern, min_length)."""
    return msgspec.Meta(description=meaning, **limits)


def written(value: Any) -> Any:
    """A value as JSON has it: dicts, lists, numbers, text."""
    return _lists(msgspec.to_builtins(value, enc_hook=_plain))


def _plain(value: object) -> object:
    """numpy's float64 is a float, torch's version a text; msgspec takes neither for one."""
    for kind in (float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} stands in no document")


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
