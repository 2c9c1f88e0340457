"""The schemas: every field explained, and everything the scripts write fits them."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import SMALL, Finished, Kit
from documents import violation
from jsonschema import Draft202012Validator

from kit.documented import written
from kit.evidence.logs import Logs
from kit.evidence.schema import SCHEMAS, TYPES, parse, schema_text
from kit.evidence.types.run import Run

DESIGN = (
    """
    model vendor task source_url status device device_name device_count cann_version
    reference_device pretrained_used local_weight_used weight_path fallback_used fallback_reason
    input input_tokens decoder_input output_shape max_abs_diff mean_abs_diff cosine_similarity
    top1_match top5_match torch_allclose_atol_5e-2_rtol_1e-2 match_within_1_percent match_basis
    latency_ms npu_latency_ms verdict submission_ready submission_blockers outputs weights
    environment latency noise precision explanation device_proof
    """
).split()


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return document


@pytest.mark.parametrize("name", TYPES)
def test_the_schema_in_the_tree_is_that_of_the_types(name: str) -> None:
    written = (SCHEMAS / f"{name}.schema.json").read_text("utf-8")
    assert written == schema_text(name), "python -m kit.evidence.schema writes it"


@pytest.mark.parametrize("name", TYPES)
def test_schema_is_sound_and_every_field_is_explained(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    definitions = schema(name)["$defs"]
    for kind, definition in definitions.items():
        assert definition["description"], kind
        for field, described in definition["properties"].items():
            kinds = [described, *described.get("anyOf", [])]
            named = [each["$ref"].rpartition("/")[2] for each in kinds if "$ref" in each]
            text = [described.get("description", "")]
            text += [definitions[each]["description"] for each in named]
            assert any(text), f"{kind}.{field}"
            if {"type": "null"} in kinds:
                assert re.search("null|absent|where there is one", " ".join(text), re.I), field


def test_summary_has_every_name_of_the_design() -> None:
    summary = schema("summary")["$defs"]["Summary"]
    assert set(DESIGN) <= set(summary["properties"]) == set(summary["required"])


def test_null_reasons_are_given_for_exactly_the_nulls(finished: Finished) -> None:
    for compared in (False, True):
        kit = finished(SMALL[1], compared=compared)
        summary = kit.summary
        nulls = {name for name, value in summary.items() if value is None}
        assert set(summary["null_reasons"]) == nulls
        assert violation("summary", summary) is None
        assert violation("run", kit.record) is None


@pytest.mark.parametrize(
    "change", [{"verdict": "GOOD"}, {"model": 5}, {"extra": 1}, {"max_abs_diff": "0.1"}]
)
def test_what_breaks_the_schema_is_not_written(vit_run: Kit, change: dict[str, Any]) -> None:
    assert violation("summary", vit_run.summary) is None
    assert violation("summary", vit_run.summary | change)


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_a_figure_that_is_not_finite_is_not_written(judged_logs: Path, figure: float) -> None:
    """msgspec alone writes null for it, without a word."""
    run = parse(Run, json.loads((judged_logs / "run.json").read_text("utf-8")))
    broken = msgspec.structs.replace(run.latency, mean_ms=figure)
    document = written(msgspec.structs.replace(run, latency=broken))
    with pytest.raises((ValueError, RuntimeError)):
        Logs(judged_logs).write_json("run.json", document)


EDITS = (None, True, -1, 1.5, "x", [], {}, [None], ...)  # the last: the field is gone


@pytest.mark.parametrize("number", [1, pytest.param(len(EDITS), marks=pytest.mark.full)])
@pytest.mark.parametrize("name", TYPES)
def test_the_schema_in_the_tree_refuses_what_the_types_do(
    judged_logs: Path, name: str, number: int
) -> None:
    """Readers in other languages have the schema alone: so many edits of every field, by both."""
    dice = random.Random(number)
    document = json.loads((judged_logs / f"{name}.json").read_text("utf-8"))
    reader = Draft202012Validator(schema(name))
    assert reader.is_valid(document)
    paths = places(document)
    for path in dice.sample(paths, len(paths) // 4) if number == 1 else paths:
        *above, last = path
        holder = document
        for key in above:
            holder = holder[key]
        before, order = holder[last], list(holder)
        for value in dice.sample(EDITS, number):
            if value is ... and isinstance(holder, list):
                continue
            if value is ...:
                del holder[last]
            else:
                holder[last] = value
            refused, theirs = violation(name, document), reader.is_valid(document)
            holder[last] = before
            # That a text is what its code says is no matter of its form.
            if theirs and refused and refused.startswith("reason_codes: "):
                continue
            ours = refused is None
            # What SUCCESS asks of a record is no matter of its form.
            after_success = name == "run" and value is None and len(path) == 1
            assert ours is theirs or after_success, (path, value)
        assert isinstance(holder, list) or sorted(order) == sorted(holder)


def places(document: Any) -> list[tuple[Any, ...]]:
    """A place for every field of the schema: of what has many names (outputs, packages) or stands in a
    list, the first that has it."""
    named = (
        "outputs metrics tensors packages variables flags device_repeat reference_repeat".split()
    )
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def walk(node: Any, path: tuple[Any, ...], shape: tuple[Any, ...]) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        many = isinstance(node, list) or (path and path[-1] in named)
        for key, value in items:
            place, kind = (*path, key), (*shape, "*" if many else key)
            found.setdefault(kind, place)
            if isinstance(value, (dict, list)):
                walk(value, place, kind)

    walk(document, (), ())
    return list(found.values())


@pytest.fixture
def judged_logs(finished: Finished) -> Path:
    return finished(SMALL[1]).logs
