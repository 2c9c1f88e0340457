"""The reference's outputs in logs/, so that they can be judged again without running a model."""

from __future__ import annotations

from collections.abc import Mapping

from kit.accuracy.comparison import Reference
from kit.errors import UsageError
from kit.evidence.documents import read_summary
from kit.evidence.handover import read_tensors
from kit.evidence.logs import GOLDEN, LAYERS, REFERENCE, SAMPLES, WRONG_OPERATOR, Logs
from kit.evidence.summary import explanation_of
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.shared import Shard
from kit.evidence.types.summary import SavedGolden, SavedReference
from kit.machine.environment import describe_environment
from kit.storage.fingerprint import describe_tensors
from kit.words import Reason


def save_reference(
    logs: Logs, reference: Reference, samples: list[Shard], metadata: Mapping[str, str]
) -> SavedReference:
    """Write reference.safetensors, and golden.safetensors where there is a golden. `samples` are the
    files of the further samples. Returns the summary's section."""
    logs.write_tensors(REFERENCE, reference.outputs, metadata)
    if reference.golden:
        logs.write_tensors(GOLDEN, reference.golden, metadata)
    golden = describe_tensors(reference.golden) if reference.golden else None
    return SavedReference(
        outputs=describe_tensors(reference.outputs),
        golden=SavedGolden(outputs=golden, reason=reference.golden_reason),
        samples=samples,
        environment=describe_environment(),
    )


def adopt_reference(
    logs: Logs, new: Logs
) -> tuple[Reference, SavedReference, Explanation | Reason | None]:
    """The reference that an earlier comparison in `logs` saved, checked against the hashes in its
    summary, for another comparison in `new`; and what explained the difference from it.

    Raises UsageError where nothing was compared yet, UntrustedError where a file is another one.
    """
    summary = read_summary(logs)
    saved, noise = summary.reference, summary.noise
    if not saved or not noise or not noise.reference_repeat:
        raise UsageError(
            f"{logs.folder} holds no finished comparison to judge again",
            "run compare_accuracy.py without --rejudge",
        )
    golden = saved.golden
    localised = (LAYERS, f"{WRONG_OPERATOR}/*")
    new.copy_from(logs, REFERENCE, GOLDEN, f"{SAMPLES}/reference-*.safetensors", *localised)
    reference = Reference(
        outputs=read_tensors(new, REFERENCE, saved.outputs),
        repeats=noise.reference_repeat,
        golden=read_tensors(new, GOLDEN, golden.outputs) if golden.outputs else {},
        golden_reason=golden.reason,
    )
    return reference, saved, explanation_of(summary)
