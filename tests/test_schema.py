"""The schemas: every field explained, and everything the scripts write fits them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT, VIT, Kit
from jsonschema import Draft202012Validator

from kit.evidence.schema import NAMES, check, violation

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
    text = (ROOT / "kit" / "evidence" / "schemas" / f"{name}.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def fields(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items():
            yield f"{path}/{name}", field
        for key, value in node.items():
            if key in ("if", "then"):
                continue  # conditions on fields that are explained where they are declared
            yield from fields(value, f"{path}/{key}")
    elif isinstance(node, list):
        for item in node:
            yield from fields(item, path)


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_sound_and_every_field_is_explained(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    definitions = schema("run")["$defs"]
    for path, field in fields(schema(name)):
        reference = field.get("$ref", "").rpartition("/")[2]
        explained = field.get("description") or definitions.get(reference, {}).get("description")
        nested = field.get("type") == "object" and path.endswith(("nonfinite",))
        assert explained or nested, path
        kinds = field.get("type", [])
        if "null" in kinds and isinstance(kinds, list):
            assert "null" in (explained or "").lower() or "absent" in explained, path


def test_summary_has_every_name_of_the_design() -> None:
    assert set(DESIGN) <= set(schema("summary")["properties"])
    assert set(schema("summary")["required"]) == set(schema("summary")["properties"])


def test_null_reasons_are_given_for_exactly_the_nulls(kit: Kit) -> None:
    assert kit.infer(*VIT).code == 0
    for compared in (False, True):
        if compared:
            assert kit.compare().code == 0
        summary = kit.summary
        nulls = {name for name, value in summary.items() if value is None}
        assert set(summary["null_reasons"]) == nulls
        assert violation("summary", summary) is None
        assert violation("run", kit.record) is None


@pytest.mark.parametrize(
    "change", [{"verdict": "GOOD"}, {"model": 5}, {"extra": 1}, {"max_abs_diff": "0.1"}]
)
def test_what_breaks_the_schema_is_not_written(vit_run: Kit, change: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="would break its schema"):
        check("summary", vit_run.summary | change)
