"""summary.json: what the record and the comparison say, under the names that reports use.

It follows from the two and from nothing else. A figure that is absent is null, and null_reasons says
why; nothing is guessed, and a CPU or simulated run never gives an NPU figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

import kit
from kit.accuracy.part import Parts
from kit.accuracy.thresholds import ONE_PERCENT
from kit.evidence.schema import SCHEMA_VERSION

_NOT_COMPARED = "compare_accuracy.py has not judged this run"
_NOT_REACHED = "the run ended before this was known"
_COMPARED = (
    "reference_device",
    "max_abs_diff",
    "mean_abs_diff",
    "cosine_similarity",
    "top1_match",
    "top5_match",
    "torch_allclose_atol_5e-2_rtol_1e-2",
    "match_within_1_percent",
    "match_basis",
    "readings_of_1_percent",
    "reference",
    "samples",
)


def summarise(
    record: Mapping[str, Any],
    comparison: Mapping[str, Any] | None = None,
    *,
    invalid: str | None = None,
) -> dict[str, Any]:
    """The summary of a run, and of its comparison where there is one.

    `record` is run.json, {} where it cannot be read. `invalid` is why the evidence cannot be trusted.
    """
    error = record.get("error") or {}
    if error.get("exit_code") == 4:
        invalid = invalid or error["message"]
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kit_version": kit.__version__,
    }
    summary |= _what_ran(record)
    summary |= _what_was_compared(record, comparison)
    summary["verdict"] = _verdict(record, comparison, invalid)
    summary["submission_blockers"] = _blockers(record, summary["verdict"], comparison, invalid)
    summary["submission_ready"] = not summary["submission_blockers"]
    summary |= {
        "outputs": comparison["outputs"] if comparison else None,
        "weights": record.get("weights"),
        "environment": record.get("environment"),
        "latency": record.get("latency"),
        "noise": _noise(record, comparison),
        "precision": record.get("precision"),
        "explanation": None,
        "device_proof": record.get("device_proof"),
    }
    summary["null_reasons"] = _null_reasons(record, summary, comparison, invalid)
    return summary


def _what_ran(record: Mapping[str, Any]) -> dict[str, Any]:
    model, device = record.get("model") or {}, record.get("device") or {}
    weights, chosen = record.get("weights") or {}, record.get("input") or {}
    outputs = record.get("outputs") or {}
    latency = (record.get("latency") or {}).get("mean_ms")
    real_npu = device.get("kind") == "npu" and device.get("simulated") is False
    return {
        "model": model.get("name"),
        "vendor": model.get("vendor"),
        "task": model.get("task"),
        "source_url": model.get("source_url"),
        "revision": model.get("revision"),
        "status": record.get("status", "FAILED"),
        "started_at": record.get("started_at"),
        "device": device.get("spec"),
        "simulated": device.get("simulated"),
        "device_name": device.get("name"),
        "device_count": device.get("count"),
        "cann_version": device.get("cann_version"),
        "pretrained_used": weights.get("pretrained_used"),
        "local_weight_used": weights.get("local_weight_used"),
        "weight_path": weights.get("weight_path"),
        "fallback_used": weights.get("fallback_used"),
        "fallback_reason": weights.get("fallback_reason"),
        "input": chosen.get("description"),
        "input_tokens": chosen.get("input_tokens"),
        "decoder_input": chosen.get("decoder_input"),
        "dtype": (record.get("arguments") or {}).get("dtype"),
        "primary_output": model.get("primary_output"),
        "output_shape": outputs.get(model.get("primary_output"), {}).get("shape"),
        "latency_ms": latency,
        "npu_latency_ms": latency if real_npu else None,
    }


def _what_was_compared(
    record: Mapping[str, Any], comparison: Mapping[str, Any] | None
) -> dict[str, Any]:
    if comparison is None:
        return dict.fromkeys(_COMPARED)
    model, outputs = record["model"], comparison["outputs"]
    primary = outputs[model["primary_output"]]["metrics"] or {}
    ranked = ranked_output(model)
    ranking = ((outputs[ranked]["metrics"] or {}).get("ranking") if ranked else None) or {}
    # Token ids have no figures unless something is wrong with them.
    judged = [output["within_1_percent"] for output in outputs.values() if _has_figures(output)]
    within = None if not judged or None in judged else all(judged)
    return {
        "reference_device": comparison["reference_device"],
        "max_abs_diff": primary.get("max_abs_diff"),
        "mean_abs_diff": primary.get("mean_abs_diff"),
        "cosine_similarity": primary.get("cosine_similarity"),
        "top1_match": ranking["top1_agree"] == ranking["rows"] if ranking else None,
        "top5_match": ranking["top5_agree"] == ranking["rows"] if ranking else None,
        "torch_allclose_atol_5e-2_rtol_1e-2": primary.get("allclose"),
        "match_within_1_percent": within,
        "match_basis": _basis(outputs) if within is not None else None,
        "readings_of_1_percent": comparison["readings"],
        "reference": comparison["reference"],
        "samples": comparison["samples"],
    }


def _has_figures(output: Mapping[str, Any]) -> bool:
    """Whether an output is judged by figures: integers that are equal need none."""
    return output["metrics"] is not None or output["verdict"] != "PASS"


def ranked_output(model: Mapping[str, Any]) -> str | None:
    """The output whose top-1 and top-5 mean something: the primary one if it is logits, else the
    first that is; None where the model has none."""
    logits = [name for name, spec in model["outputs"].items() if spec["role"] == "logits"]
    return (
        model["primary_output"] if model["primary_output"] in logits else next(iter(logits), None)
    )


def _basis(outputs: Mapping[str, Any]) -> str:
    largest = [_largest(outputs, figure) for figure in ("relative_l2", "max_over_range")]
    own = [
        f"{name} is judged by other limits ({output['thresholds']['reason']})"
        for name, output in outputs.items()
        if output["thresholds"]["reason"]
    ]
    parts = [
        f"{name} has a part further off: {', '.join(found)}"
        for name, output in outputs.items()
        if (found := _parts_beyond(output))
    ]
    return "; ".join(
        [
            "relative L2 <= 1% and max|diff|/max|ref| <= 1% in every output: the largest are "
            f"{largest[0]} and {largest[1]}",
            *parts,
            *own,
        ]
    )


def _parts_beyond(output: Mapping[str, Any]) -> list[str]:
    """The parts of an output that withhold the 1%, each with its own relative L2."""
    if output["metrics"] is None:
        return []
    parts = msgspec.convert(output["metrics"]["parts"], Parts).counting
    return [
        f"a {name} {part.distance:.3g}"
        for name, part in parts.items()
        if part.distance > ONE_PERCENT
    ]


def _largest(outputs: Mapping[str, Any], figure: str) -> str:
    figures = {
        name: output["metrics"][figure] for name, output in outputs.items() if output["metrics"]
    }
    if unknown := [name for name, value in figures.items() if value is None]:
        return f"not computable ({', '.join(unknown)})"
    name = max(figures, key=lambda name: figures[name])
    return f"{figures[name]:.3g} ({name})"


def _verdict(
    record: Mapping[str, Any], comparison: Mapping[str, Any] | None, invalid: str | None
) -> str:
    if invalid:
        return "INVALID"
    if comparison is None:
        return "NOT_COMPARED"
    found = {comparison["verdict"], (comparison["samples"] or comparison)["verdict"]}
    verdict = next(each for each in ("INVALID", "FAIL", "PASS") if each in found)
    # Device and reference both being CPU shows that the scripts work, and nothing about a device.
    return "SELF_CHECK" if verdict == "PASS" and record["device"]["kind"] == "cpu" else verdict


def _blockers(
    record: Mapping[str, Any],
    verdict: str,
    comparison: Mapping[str, Any] | None,
    invalid: str | None,
) -> list[str]:
    """Every reason why this run is no evidence of a pretrained model on a real NPU."""
    blockers = []
    if record.get("status") != "SUCCESS":
        blockers.append(f"the run did not succeed: status {record.get('status', 'FAILED')}")
    if verdict != "PASS":
        why = invalid or (_NOT_COMPARED if comparison is None else _why_not_passed(comparison))
        blockers.append(f"the verdict is {verdict}" + (f": {why}" if why else ""))
    device = record.get("device") or {}
    if device.get("kind") != "npu":
        blockers.append(f"the device is {device.get('spec', 'unknown')}, not an NPU")
    elif device["simulated"]:
        blockers.append("the NPU is simulated")
    weights = record.get("weights") or {}
    if weights.get("fallback_used"):
        blockers.append("the weights are random: fallback_reason says why")
    elif weights.get("pretrained_used") is not True:
        blockers.append(weights.get("pretrained_reason") or "no weights were loaded")
    return blockers + _fallback_blockers(record)


def _fallback_blockers(record: Mapping[str, Any]) -> list[str]:
    """What fell back to the CPU in the first pass and in the further samples, or why nobody could tell."""
    watched = [record.get("device_proof") or {}, *filter(None, [record.get("samples")])]
    ops = sorted({op for each in watched for op in each.get("fallback_ops") or ()})
    blockers = [f"operators fell back to the CPU: {', '.join(ops)}"] if ops else []
    unknown = [each for each in watched if each.get("fallback_ops") is None]
    if unknown:
        blockers.append(unknown[0].get("fallback_reason") or "CPU fallback was not watched")
    return blockers


def _noise(
    record: Mapping[str, Any], comparison: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    noise = record.get("noise")
    if noise is None:
        return None
    return {**noise, "reference_repeat": comparison["reference_repeat"] if comparison else None}


def _null_reasons(
    record: Mapping[str, Any],
    summary: Mapping[str, Any],
    comparison: Mapping[str, Any] | None,
    invalid: str | None,
) -> dict[str, str]:
    """Why each null at the top level is null, by field."""
    unread = f"the record cannot be read: {invalid}" if not record else _NOT_REACHED
    reasons = {name: unread for name, value in summary.items() if value is None}
    if comparison is None:
        compared = invalid or _NOT_COMPARED
        reasons |= {name: compared for name in (*_COMPARED, "outputs") if name in reasons}
    else:
        reasons |= _why_not_measured(record, summary, comparison)
    device, weights = record.get("device") or {}, record.get("weights") or {}
    known = {"explanation": "the error's causes are not analysed by this version of the kit"}
    if device:
        known["npu_latency_ms"] = (
            "the device is a simulation"
            if device["simulated"]
            else _NOT_REACHED
            if device["kind"] == "npu"
            else f"the device is {device['spec']}, not an NPU"
        )
        known["cann_version"] = (
            "torch_npu does not say"
            if device["kind"] == "npu" and not device["simulated"]
            else "no CANN drives this device"
        )
    if weights:
        known["pretrained_used"] = weights["pretrained_reason"]
        known["fallback_reason"] = "no fallback was used"
        known["weight_path"] = "no weights file: the initialisation is random"
    if record and record["arguments"]["data"] is None:
        known["samples"] = "no --data was given"
    if record.get("input"):
        known["input_tokens"] = "the input is not text"
        known["decoder_input"] = "the model has no decoder input"
    return reasons | {name: reason for name, reason in known.items() if name in reasons}


def _why_not_passed(comparison: Mapping[str, Any]) -> str:
    """The reasons of every output that did not pass; empty where all did."""
    reasons = [comparison["reason"]] if comparison["reason"] else []
    reasons += [
        f"{name}: {', '.join(output['reasons'])}"
        for name, output in comparison["outputs"].items()
        if output["verdict"] != "PASS"
    ]
    if comparison["samples"] and comparison["samples"]["reason"]:
        reasons.append(comparison["samples"]["reason"])
    return "; ".join(reasons)


def _why_not_measured(
    record: Mapping[str, Any], summary: Mapping[str, Any], comparison: Mapping[str, Any]
) -> dict[str, str]:
    undecided = _why_not_passed(comparison) or "the primary output is judged without this figure"
    reasons = {name: undecided for name in _COMPARED if summary[name] is None}
    if ranked_output(record["model"]) is None:
        nothing = "no output has classes or tokens in its last dimension"
        reasons |= {name: nothing for name in ("top1_match", "top5_match") if name in reasons}
    return reasons
