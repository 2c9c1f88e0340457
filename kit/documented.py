"""Values that stand in a document as they are: each field says there what it means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec

from kit.words import Reason

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Documented(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value whose fields, with their meaning, unit and when they are null, are those of a document."""


def says(meaning: str, **limits: Any) -> msgspec.Meta:
    """What a field means, for the schema; `limits` are msgspec's (ge, le, pattern, min_length)."""
    return msgspec.Meta(description=meaning, **limits)


class Coded(Documented, frozen=True, kw_only=True):
    """A reason as a program reads it."""

    code: Annotated[str, says("Its name in the kit's catalogue (kit/words.toml).")]
    values: Annotated[
        dict[str, str | int | float | list[str]],
        says("What is filled in. A text that is a reason itself is in the table, too."),
    ]


# The field `reason_codes` of a document, which written() fills.
Codes = Annotated[
    dict[str, Coded],
    says(
        "Every reason in this document by its English text: code and values, of which its text in "
        "another language is made. What someone else says (an error, a library) has none."
    ),
]

T = TypeVar("T")


def written(value: Any) -> Any:
    """A value as JSON has it: dicts, lists, numbers, text; of a document also the codes of its reasons."""
    codes: dict[str, Any] = {}
    document = _lists(msgspec.to_builtins(value, enc_hook=partial(_plain, codes)))
    if isinstance(document, dict) and "reason_codes" in document:
        document["reason_codes"] = codes
    return document


def read(kind: type[T], document: Any) -> T:
    """The value of a document of JSON's types, its reasons with their codes. Raises ValueError where it
    has another form, or a reason says anything else than its code does."""
    table = document.get("reason_codes") if isinstance(document, dict) else None
    codes = msgspec.convert({} if table is None else table, dict[str, Coded], strict=True)
    return msgspec.convert(document, kind, strict=True, dec_hook=partial(_reason, codes))


def _reason(codes: Mapping[str, Coded], kind: type, text: Any) -> Reason:
    if kind is not Reason or not isinstance(text, str):
        raise ValueError("Expected `str`")
    coded = codes.get(text)
    if coded is None:
        return Reason.said(text)
    values = {name: _value(codes, value, text) for name, value in coded.values.items()}
    try:
        reason = Reason(coded.code, **values)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"reason_codes: {coded.code!r:.100} has other values") from error
    if reason != text:
        code = f"{coded.code!r:.100} in this version of the kit"
        raise ValueError(f"reason_codes: {code} does not say {text!r:.100}")
    return reason


def _value(codes: Mapping[str, Coded], value: Any, within: str) -> Any:
    """A value of the reason `within`, a reason itself where the table has it: one that is shorter than what
    it is in, so that a table which goes in a circle has an end."""
    if isinstance(value, list):
        return [_value(codes, each, within) for each in value]
    inner = isinstance(value, str) and value in codes and len(value) < len(within)
    return _reason(codes, Reason, value) if inner else value


def _plain(codes: dict[str, Any], value: object) -> object:
    """The text of a reason, whose code goes into `codes`. numpy's float64 is a float, torch's version a
    text; msgspec takes neither for one."""
    if isinstance(value, Reason):
        value = _innermost(value)
        if value.code != "said" and str(value) not in codes:
            codes[str(value)] = None  # keeps its place before the reasons in it
            values = {name: _plain_value(codes, each) for name, each in value.values.items()}
            codes[str(value)] = {"code": value.code, "values": values}
        return str(value)
    for kind in (float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} stands in no document")


def _innermost(reason: Reason) -> Reason:
    """The reason in a reason that adds nothing to it in English: they share one place in the table."""
    inside = [each for value in reason.values.values() for each in _members(value)]
    return next((_innermost(each) for each in inside if each == str(reason)), reason)


def _members(value: Any) -> list[Reason]:
    """The reasons that a value of a reason is."""
    each = value if isinstance(value, (list, tuple)) else [value]
    return [one for one in each if isinstance(one, Reason) and one.code != "said"]


def _plain_value(codes: dict[str, Any], value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain_value(codes, each) for each in value]
    return _plain(codes, value) if isinstance(value, (str, float)) else value


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
