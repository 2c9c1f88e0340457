"""The JSON Schemas of run.json, summary.json and charts.json, and the check of a document against them."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

# Raised when a field changes its meaning or goes; a reader refuses another version.
SCHEMA_VERSION = 4
NAMES = ("run", "summary", "charts")


def violation(name: str, document: Any) -> str | None:
    """The first way in which `document` breaks the schema `name` (of NAMES), None where it fits."""
    error = next(_validator(name).iter_errors(document), None)
    return None if error is None else f"{error.json_path}: {error.message}"


def check(name: str, document: Any) -> None:
    """Raise RuntimeError where what the kit is about to write breaks its own schema: a bug."""
    if broken := violation(name, document):
        raise RuntimeError(f"{name}.json would break its schema at {broken}")


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # The others refer to definitions of run.schema.json by its file name.
    folder = resources.files("kit.evidence").joinpath("schemas")
    schemas = [
        json.loads(folder.joinpath(f"{which}.schema.json").read_text("utf-8")) for which in NAMES
    ]
    registry: Any = Registry().with_contents([(schema["$id"], schema) for schema in schemas])
    return Draft202012Validator(schemas[NAMES.index(name)], registry=registry)
