"""run.json, summary.json and the reports of two models are what they were, but for what a host decides.

The kept files are in tests/kept/. Where a change is meant, write them again and read the difference:

    KEEP=1 python -m pytest -n 0 -m full tests/test_kept_runs.py && git diff tests/kept
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished

from kit.words import Texts

AGAIN = "KEEP=1 python -m pytest -n 0 -m full tests/test_kept_runs.py"
KEPT = Path(__file__).with_name("kept")
MODELS = ("flan_t5_small", "vit_tiny_patch16_224")
# What differs from host to host, from one minute to the next and with each release.
_HOST = {
    "started_at", "finished_at", "seconds", "kit_version", "environment", "samples_ms", "spread",
    "load_average", "latency_ms", "p50_ms", "p90_ms", "p99_ms", "classes", "generated", "top5", "token_ids",
}  # fmt: skip
# Sections of a report: the machine, times, and as many rows as the figures give.
_HOSTS_OWN = ("hardware", "software", "latency", "charts", "top5")
say = Texts("zh")
_NUMBER = re.compile(r"(?<![\w-])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+(\+[\d:]+)?")
_HASH = re.compile(r"\b[0-9a-f]{12,64}\b")


def steady(value: Any, name: str = "", *, figures: bool = False) -> Any:
    """A document's part without what differs: of a figure only whether there is one."""
    if name in _HOST:
        return f"<{name}>"
    figures |= name in (
        "metrics",
        "reason_codes",
    )  # their whole numbers, too: which row is the worst, say
    if isinstance(value, Mapping):
        return {steady_text(key): steady(item, key, figures=figures) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item, name, figures=figures) for item in value]
    if isinstance(value, float) or (figures and type(value) is int):
        return "<figure>"
    return steady_text(value) if isinstance(value, str) else value


def steady_text(text: str) -> str:
    """A text without times, hashes and numbers."""
    return _NUMBER.sub("#", _HASH.sub("<hash>", _TIME.sub("<time>", text)))


def document(path: Path) -> str:
    return json.dumps(steady(json.loads(path.read_text("utf-8"))), indent=1, ensure_ascii=False)


def without_labels(path: Path) -> str:
    """A report whose classes have no names: which ones are first is the host's rounding."""
    text = path.read_text("utf-8")
    described = json.loads(path.with_name("run.json").read_text("utf-8"))["described"]
    for each in described["top5"]:
        text = text.replace(each["label"] or "(no label)", "<label>")
    return text


def report(path: Path) -> str:
    """report.md without the sections of the machine, of times and of charts."""
    titles = "|".join(re.escape(say(f"title.{name}")) for name in _HOSTS_OWN)
    text = re.sub(rf"^## ({titles})\b.*?(?=^## )", "", without_labels(path), flags=re.M | re.S)
    return steady_text(text)


def page(path: Path) -> str:
    """report.html likewise, without its style, one element a line."""
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", without_labels(path), flags=re.S)
    text = re.sub(rf'<section id="({"|".join(_HOSTS_OWN)})".*?</section>', "", text, flags=re.S)
    return steady_text(text).replace("><", ">\n<")


KINDS = {"run.json": document, "summary.json": document, "report.md": report, "report.html": page}


@pytest.mark.full  # what it holds changes with every new field
@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_what_it_was(finished: Finished, model: str) -> None:
    logs = finished(model).logs
    for name, read in KINDS.items():
        kept, found = KEPT / model / f"{name}.txt", f"{read(logs / name)}\n"
        if os.environ.get("KEEP"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(found, "utf-8")
        assert found == kept.read_text("utf-8"), f"{name}: is the change meant? {AGAIN}"
