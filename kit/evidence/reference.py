"""The reference's outputs in logs/, so that they can be judged again without running a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.accuracy.comparison import Reference
from kit.accuracy.repeats import Repeat
from kit.errors import UsageError
from kit.evidence.documents import read_summary
from kit.evidence.handover import read_tensors
from kit.evidence.logs import GOLDEN, REFERENCE, Logs
from kit.storage.fingerprint import describe_tensors


def save_reference(logs: Logs, reference: Reference, metadata: Mapping[str, str]) -> None:
    """Write reference.safetensors, and golden.safetensors where there is a golden."""
    logs.write_tensors(REFERENCE, reference.outputs, metadata)
    if reference.golden:
        logs.write_tensors(GOLDEN, reference.golden, metadata)
    else:
        logs.discard(GOLDEN)


def read_reference(logs: Logs) -> Reference:
    """The reference that an earlier comparison saved, checked against the hashes in its summary.

    Raises UsageError where nothing was compared yet, UntrustedError where a file is another one.
    """
    summary = read_summary(logs)
    saved, noise = summary.get("reference"), summary.get("noise")
    if not saved or not noise or not noise["reference_repeat"]:
        raise UsageError(
            f"{logs.folder} holds no finished comparison to judge again: run compare_accuracy.py "
            "without --rejudge"
        )
    golden = saved["golden"]
    return Reference(
        outputs=read_tensors(logs, REFERENCE, saved["outputs"]),
        repeats={name: Repeat(**repeat) for name, repeat in noise["reference_repeat"].items()},
        golden=read_tensors(logs, GOLDEN, golden["outputs"]) if golden["outputs"] else {},
        golden_reason=golden["reason"],
        environment=saved["environment"],
        samples=saved["samples"],
    )


def describe_reference(reference: Reference) -> dict[str, Any]:
    """The summary's section on a reference: shape, dtype and sha256 of every output, and where it ran."""
    golden = describe_tensors(reference.golden) if reference.golden else None
    return {
        "outputs": describe_tensors(reference.outputs),
        "golden": {"outputs": golden, "reason": reference.golden_reason},
        "samples": list(reference.samples),
        "environment": reference.environment,
    }
