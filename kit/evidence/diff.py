"""What differs between two runs: environment, device, weights, precision, input, latency, accuracy.

A run is a folder that inference.py wrote (logs/, or one of logs/history/). Two latencies differ where
their means are further apart than 5% and three standard errors; the rest differs where it is not equal.
Exit code 0 where nothing differs, 1 where something does.

    python -m kit diff logs/history/20260101T000000Z-flan_t5_small logs
    python -m kit diff strict/ fast/ --json
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.documented import written
from kit.entry import parser_of, path_given
from kit.errors import UsageError
from kit.evidence.documents import read_record, read_summary
from kit.evidence.logs import Logs

log = logging.getLogger("kit")

# section: (the document it is in, the fields that two runs under the same conditions share)
_SECTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "model": ("run", ("model",)),
    "arguments": ("run", ("arguments",)),
    "environment": ("run", ("environment",)),
    "device": ("run", ("device.kind", "device.spec", "device.name", "device.cann_version")),
    "place": ("run", ("device_proof",)),
    "precision": ("run", ("precision",)),
    "weights": (
        "run",
        ("weights.fingerprint", "weights.files", "weights.weight_path", "weights.pretrained_used"),
    ),
    "input": ("run", ("input",)),
    "outputs": ("run", ("outputs", "noise")),
    "accuracy": ("summary", ("verdict", "outputs", "reference", "match_within_1_percent")),
}
_APART, _STANDARD_ERRORS = 0.05, 3


def main(arguments: Sequence[str]) -> int:
    """Print what differs. Returns 0 or 1; raises UsageError for a folder that holds no run."""
    options = _parse(arguments)
    runs = [_read(folder) for folder in (options.run_a, options.run_b)]
    found = {section: _differences(section, *runs) for section in _SECTIONS}
    found["latency"] = _latency(*(run["run"]["latency"] for run in runs))
    found = {section: differences for section, differences in found.items() if differences}
    if options.json:
        log.info(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _tell(found)
    return 1 if found else 0


def _differences(section: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one section that differ: {dotted name: [a's value, b's value]}."""
    document, fields = _SECTIONS[section]
    flat = [dict(_flatten({name: _at(run[document], name) for name in fields})) for run in (a, b)]
    names = [*flat[0], *(name for name in flat[1] if name not in flat[0])]
    return {
        name: [flat[0].get(name), flat[1].get(name)]
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    }


def _latency(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    if not a or not b:
        return {} if a == b else {"mean_ms": [side and side["mean_ms"] for side in (a, b)]}
    error = math.hypot(*(side["std_ms"] / math.sqrt(side["iterations"]) for side in (a, b)))
    apart = abs(a["mean_ms"] - b["mean_ms"])
    if apart <= max(_STANDARD_ERRORS * error, _APART * min(a["mean_ms"], b["mean_ms"])):
        return {}
    return {name: [a[name], b[name]] for name in ("mean_ms", "p50_ms", "p90_ms", "cold_ms")}


def _tell(found: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    for section, differences in found.items():
        log.info(section)
        for name, (a, b) in differences.items():
            log.info(f"  {name}: {_short(a)} -> {_short(b)}")
    if not found:
        log.info("nothing differs")


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted names; lists are leaves."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from _flatten(item, f"{name}.{key}" if name else key)


def _at(document: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name the logs of a run, such as logs")
    logs = Logs(folder)
    return {"run": written(read_record(logs)), "summary": written(read_summary(logs))}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit diff")
    parser.add_argument("run_a", type=path_given, metavar="RUN_A")
    parser.add_argument("run_b", type=path_given, metavar="RUN_B")
    parser.add_argument("--json", action="store_true", help="the differences as JSON")
    return parser.parse_args(arguments)
