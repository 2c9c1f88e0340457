"""Run, Summary and Charts as the form that their documents must have, and as JSON Schemas.

The schemas in schemas/ are for readers in other languages: `python -m kit.evidence.schema` writes them
from the types, and a test holds that they are equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from kit.documented import Documented, read, written
from kit.evidence.types.charts import Charts
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary

# Raised when a field changes its meaning or goes; a reader refuses another version.
SCHEMA_VERSION: Final = 6
TYPES: dict[str, type[Documented]] = {"run": Run, "summary": Summary, "charts": Charts}
SCHEMAS = Path(__file__).with_name("schemas")

Document = TypeVar("Document", Run, Summary, Charts)


def parse(kind: type[Document], document: Any) -> Document:
    """The value of a document of JSON's types. Raises ValueError, which says what breaks its form."""
    try:
        value = read(kind, document)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    again = written(value)
    if isinstance(again, dict) and again.get("reason_codes") != document.get("reason_codes"):
        raise ValueError("reason_codes: they are not those of the reasons")
    if again != document:
        # A field that has a default in the kit has none in a document.
        raise ValueError("a field is missing")
    return value


def checked(value: Document) -> dict[str, Any]:
    """What the kit is about to write, as JSON has it. Raises RuntimeError where it breaks its own form:
    a bug."""
    document: dict[str, Any] = written(value)
    try:
        parse(type(value), document)
    except ValueError as error:
        raise RuntimeError(f"{type(value).__name__} would break its form: {error}") from error
    return document


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of a document: every field is required, and no other is allowed."""
    schema = msgspec.json.schema(TYPES[name], schema_hook=lambda kind: {"type": "string"})
    for definition in schema["$defs"].values():
        definition["description"] = " ".join(definition["description"].split())
        required = set(definition.get("required", ()))
        for field, described in definition["properties"].items():
            if "default" in described:  # the kit's; a field that may be absent has none
                required.add(field)
                del described["default"]
        definition["required"] = [name for name in definition["properties"] if name in required]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.schema.json"}
    return head | schema


def schema_text(name: str) -> str:
    """As it stands in schemas/."""
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for document in TYPES:
        (SCHEMAS / f"{document}.schema.json").write_text(schema_text(document), "utf-8")
