"""Run, Summary and Charts as the form that their documents must have, and as JSON Schemas.

The schemas in schemas/ are for readers in other languages: `python -m kit.evidence.schema` writes them
from the types, and a test holds that they are equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from kit.accuracy.documented import Documented, written

# Raised when a field changes its meaning or goes; a reader refuses another version.
SCHEMA_VERSION = 4
NAMES = ("run", "summary", "charts")
SCHEMAS = Path(__file__).with_name("schemas")


def type_of(name: str) -> type[Documented]:
    """The type of a document of NAMES; the figures of an output bring numpy along, so it comes late."""
    from kit.evidence.types.charts import Charts
    from kit.evidence.types.run import Run
    from kit.evidence.types.summary import Summary

    types: tuple[type[Documented], ...] = (Run, Summary, Charts)
    return types[NAMES.index(name)]


def violation(name: str, document: Any) -> str | None:
    """The first way in which `document` is no document `name` (of NAMES), None where it is one."""
    try:
        value = msgspec.convert(document, type_of(name), strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    except RecursionError:
        return "it is nested too deep"
    if written(value) != document:
        # A field that has a default in the kit has none in a document.
        return "a field is missing"
    return None


def check(name: str, document: Any) -> None:
    """Raise RuntimeError where what the kit is about to write breaks its own schema: a bug."""
    if broken := violation(name, document):
        raise RuntimeError(f"{name}.json would break its schema: {broken}")


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of a document: every field is required, and no other is allowed."""
    schema = msgspec.json.schema(type_of(name))
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
    for document in NAMES:
        (SCHEMAS / f"{document}.schema.json").write_text(schema_text(document), "utf-8")
