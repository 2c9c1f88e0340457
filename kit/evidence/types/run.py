"""run.json: what one run of inference.py was asked, what it used and what it measured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from kit.accuracy.repeats import Repeat
from kit.devices.device import DeviceKind
from kit.documented import Codes, Documented, Sha256, says
from kit.evidence.latency import Latency
from kit.evidence.types.asked import Arguments, DeclaredModel
from kit.evidence.types.shared import (
    DeviceProof,
    PrecisionFlags,
    Shard,
    Status,
    Weights,
)
from kit.machine.environment import Environment
from kit.storage.fingerprint import SavedTensor
from kit.words import Reason


class RunError(Documented, frozen=True, kw_only=True):
    """Why the run failed; null unless status is FAILED or UNSUPPORTED."""

    exit_code: Annotated[
        Literal[2, 3, 4],
        says(
            "The process's exit code: 2 bad input, 3 the environment cannot, 4 not to be trusted."
        ),
    ]
    message: Annotated[
        Reason, says("One line: what happened, with which value, and the next step.")
    ]


class ChosenDevice(Documented, frozen=True, kw_only=True):
    """The device of the run, and why it was taken. Null where the run ended before."""

    kind: Annotated[DeviceKind, says("Kind of device.")]
    spec: Annotated[str, says("torch's name for it, such as npu:0.")]
    name: Annotated[str, says("The hardware's own name.")]
    count: Annotated[int, says("Devices of this kind that the process saw.", ge=1)]
    cann_version: Annotated[
        str | None,
        says("Version of CANN; null for anything but a real NPU whose torch_npu says it."),
    ]
    simulated: Annotated[
        bool,
        says(
            "True unless the dynamic loader of the process had torch_npu's native library: then "
            "nothing here is an NPU result. That the library drove a real card is the word of "
            "whoever made the record."
        ),
    ]
    why_simulated: Annotated[
        Reason | None, says("Why the NPU counts as a simulation; null where it does not.")
    ]
    reason: Annotated[Reason, says("Why this device was taken, and each other kind passed over.")]


class FedInput(Documented, frozen=True, kw_only=True):
    """What the model was fed. Null where the run ended before."""

    description: Annotated[str, says("The text, or the image's name and size.")]
    input_tokens: Annotated[int | None, says("Tokens of the text; null for other inputs.")]
    decoder_input: Annotated[
        list[list[int]] | None, says("Fixed decoder token ids; null for models without a decoder.")
    ]
    tensors: Annotated[dict[str, SavedTensor], says("The tensors of inputs.safetensors.")]
    fingerprint: Annotated[
        Sha256, says("Of all input tensors together (kit/storage/fingerprint.py).")
    ]


class TopClass(Documented, frozen=True, kw_only=True):
    """One class or token."""

    index: Annotated[int, says("Class or token id.")]
    label: Annotated[
        str | None,
        says(
            "Class name or token; null where the classes are not ImageNet's 1000, or the "
            "tokenizer was not at hand."
        ),
    ]
    logit: Annotated[float | None, says("Its logit; null where it is not finite.")]


class Generated(Documented, frozen=True, kw_only=True):
    """Greedy generation."""

    token_ids: Annotated[
        list[int],
        says(
            "Ids, the decoder's start token first; their per-step scores are in "
            "outputs.safetensors."
        ),
    ]
    text: Annotated[
        str | None, says("Decoded ids; null with text_reason where the tokenizer was not at hand.")
    ]
    text_reason: Annotated[Reason | None, says("Why text is null; null where it is not.")]


class Described(Documented, frozen=True, kw_only=True):
    """What the outputs say in words. Null where the run ended before."""

    top5: Annotated[
        list[TopClass] | UnsetType,
        says("The five largest logits of the first row of the ranked output, largest first."),
    ] = UNSET
    generated: Annotated[Generated | UnsetType, says("Greedy generation.")] = UNSET


class SampleInput(Documented, frozen=True, kw_only=True):
    """One sample of --data."""

    name: Annotated[
        str, says("The image's file name, or the number of the text's line from 1; never a path.")
    ]
    fingerprint: Annotated[
        Sha256,
        says(
            "Of all input tensors of the sample together, before a cast to dtype "
            "(kit/storage/fingerprint.py)."
        ),
    ]


class RecordedSamples(Documented, frozen=True, kw_only=True):
    """The samples of --data, run after the input: the outputs of the one forward that is timed, for
    each. Their tensors are in samples/, called <number of the sample from 0, eight digits>.<output>.
    Null where no --data was given or the run ended before."""

    count: Annotated[int, says("Samples that were run.", ge=1)]
    batch_size: Annotated[
        int,
        says(
            "Samples in one forward, fewer in the last; 1 for texts, whose lengths "
            "differ. The reference takes the same batches.",
            ge=1,
        ),
    ]
    inputs: Annotated[
        list[SampleInput],
        says(
            "Every sample in the order of the run. The inputs themselves are not stored: "
            "compare_accuracy.py reads them again."
        ),
    ]
    files: Annotated[list[Shard], says("The device's outputs.")]
    device_repeat: Annotated[
        dict[str, Repeat],
        says("Two runs of the first batch; the others ran once, and are judged by this."),
    ]
    fallback_ops: Annotated[
        list[str] | None,
        says(
            "Operators that ran on the CPU instead during the samples, without those of "
            "device_proof.fallback_ops: each is told of once. Null with fallback_reason "
            "where they could not be watched."
        ),
    ]
    fallback_reason: Annotated[
        Reason | None, says("Why fallback_ops is null; null where it is not.")
    ]


class RecordedCalls(Documented, frozen=True, kw_only=True):
    """module_calls.safetensors: what every module call took and gave in one more forward on the device,
    after all that is measured; equal tensors are in it once. Absent where --localize was not given, or
    the run ended before."""

    sha256: Annotated[Sha256 | None, says("Of the file; null with reason where none was written.")]
    recorded: Annotated[int, says("Calls that are in it.", ge=0)]
    left_out: Annotated[int, says("Calls of the forward that are not.", ge=0)]
    reason: Annotated[
        Reason | None, says("Why calls are left out, or all are; null where none is.")
    ]

    def __post_init__(self) -> None:
        """Raise ValueError where nothing says why something is missing, or nothing is."""
        if (self.sha256 is None or self.left_out > 0) is (self.reason is None):
            raise ValueError("module calls are left out without a reason, or there for one")


class DeviceNoise(Documented, frozen=True, kw_only=True):
    """How repeatable the device is. Null where the run ended before."""

    device_repeat: Annotated[dict[str, Repeat], says("Two runs on the same input, by output.")]
    timed_repeat: Annotated[
        dict[str, Repeat],
        says(
            "The last timed run beside the first run, by output of the one forward that is timed."
        ),
    ]


class Run(Documented, frozen=True, kw_only=True):
    """A section is null while the run has not reached it: after SUCCESS none is, but samples where there
    was no --data. Times are in milliseconds where a name ends in _ms, in seconds where it is or ends
    in seconds; sizes are in bytes; hashes are sha256 in lower-case hex."""

    schema_version: Annotated[
        Literal[6], says("Version of this format; a reader refuses another one.")
    ]
    kit_version: Annotated[str, says("Version of the kit that wrote the record.")]
    status: Status
    error: Annotated[
        RunError | None, says("Why the run failed; null unless status is FAILED or UNSUPPORTED.")
    ] = None
    started_at: Annotated[str, says("UTC, ISO 8601.")]
    finished_at: Annotated[
        str | None, says("UTC, ISO 8601; null while the run is going on, or where it was killed.")
    ] = None
    arguments: Annotated[
        Arguments,
        says(
            "What inference.py was asked. Paths are reduced to their last part, addresses"
            " hold no credentials."
        ),
    ]
    model: Annotated[DeclaredModel, says("What the adapter declares.")]
    device: Annotated[
        ChosenDevice | None,
        says("The device of the run, and why it was taken. Null where the run ended before."),
    ] = None
    weights: Weights | None = None
    input: Annotated[
        FedInput | None, says("What the model was fed. Null where the run ended before.")
    ] = None
    outputs: Annotated[
        dict[str, SavedTensor] | None,
        says(
            "The tensors of outputs.safetensors, from the first run on the device; "
            "null where the run ended before."
        ),
    ] = None
    described: Annotated[
        Described | None, says("What the outputs say in words. Null where the run ended before.")
    ] = None
    samples: Annotated[
        RecordedSamples | None,
        says(
            "The samples of --data, run after the input: the outputs of the one forward "
            "that is timed, for each. Their tensors are in samples/, called <number of "
            "the sample from 0, eight digits>.<output>. Null where no --data was given or"
            " the run ended before."
        ),
    ] = None
    module_calls: RecordedCalls | UnsetType = UNSET
    device_proof: DeviceProof | None = None
    precision: PrecisionFlags | None = None
    latency: Latency | None = None
    noise: Annotated[
        DeviceNoise | None, says("How repeatable the device is. Null where the run ended before.")
    ] = None
    environment: Environment | None = None
    reason_codes: Codes = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError where a run that succeeded lacks a section."""
        optional = ("error", "samples")
        missing = [
            name
            for name in self.__struct_fields__
            if name not in optional and getattr(self, name) is None
        ]
        if self.status == "SUCCESS" and missing:
            raise ValueError(f"{missing[0]} is null after SUCCESS")


class FinishedRun(Run, frozen=True, kw_only=True):
    """A run that succeeded: every section is there."""

    device: ChosenDevice
    weights: Weights
    input: FedInput
    outputs: dict[str, SavedTensor]
    described: Described
    device_proof: DeviceProof
    precision: PrecisionFlags
    latency: Latency
    noise: DeviceNoise
    environment: Environment

    @classmethod
    def of(cls, run: Run) -> FinishedRun:
        """A run whose status is SUCCESS."""
        return cls(**{name: getattr(run, name) for name in run.__struct_fields__})
