"""What a record and a summary share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from kit.devices.precision import PrecisionName
from kit.documented import Documented, Sha256, says
from kit.evidence.types.arithmetic import ProbedArithmetic
from kit.weights.casting import Cast
from kit.weights.fitting import Account
from kit.weights.request import Attempt
from kit.weights.weight_file import ConvertedFrom
from kit.words import Reason

Status = Annotated[
    Literal["SUCCESS", "FAILED", "INTERRUPTED", "UNSUPPORTED"],
    says(
        "How the run ended. INTERRUPTED also while it is going on, so that a killed run is left so."
    ),
]


class Shard(Documented, frozen=True, kw_only=True):
    """One file of samples/: sample after sample of one side."""

    name: Annotated[
        Annotated[str, Meta(pattern="^(device|reference)-[0-9]{5,}\\.safetensors$")],
        says("File name in samples/."),
    ]
    sha256: Annotated[Sha256, says("Of the whole file.")]
    samples: Annotated[int, says("How many samples it holds.", ge=1)]


class LoadedFile(Documented, frozen=True, kw_only=True):
    """The file that was loaded."""

    name: Annotated[str, says("File name.", pattern="^[^/\\\\]+$")]
    bytes: Annotated[int, says("Size.", ge=0)]
    sha256: Annotated[Sha256, says("Of the whole file.")]
    hash_origin: Annotated[
        Literal["published", "hub", "computed"],
        says("Whether that hash is the published one, the hub's own, or only computed here."),
    ]
    revision: Annotated[str | None, says("Commit that the file belongs to; null where unknown.")]
    converted_from: Annotated[
        ConvertedFrom | None,
        says(
            "The pickle that the kit made the file of, as the file's metadata says; null for "
            "any other file."
        ),
    ]


class Weights(Documented, frozen=True, kw_only=True):
    """Which bytes were loaded, or why none were; null where the run ended before."""

    pretrained_used: Annotated[
        bool | None,
        says(
            "True when every loaded file's sha256 is the published one or the hub's own; "
            "null for a good file of unknown origin; false for a random initialisation."
        ),
    ]
    pretrained_reason: Annotated[Reason, says("Why pretrained_used is what it is.")]
    local_weight_used: Annotated[
        bool,
        says(
            "True when weights were loaded and no byte of them came over the network in this run."
        ),
    ]
    weight_path: Annotated[
        str | None,
        says(
            "hf-cache:..., modelscope:..., weights-cache:... or file:NAME; null for a "
            "random initialisation."
        ),
    ]
    fallback_used: Annotated[bool, says("True when the weights are a random initialisation.")]
    fallback_reason: Annotated[
        Reason | None, says("Why no weights were loaded; null where they were.")
    ]
    seed: Annotated[
        int | None, says("Seed of the random initialisation; null where weights were loaded.")
    ]
    files: Annotated[
        list[LoadedFile],
        says(
            "The loaded file, or the index and after it every shard that it names; empty for a "
            "random initialisation."
        ),
    ]
    attempts: Annotated[list[Attempt], says("Every source that was tried, in order.")]
    fingerprint: Annotated[
        Sha256,
        says(
            "Of all tensors as loaded, by name (kit/storage/fingerprint.py): independent "
            "of the file that held them."
        ),
    ]
    parameters: Annotated[
        int, says("Elements of all tensors of the state_dict, shared ones once.", ge=0)
    ]
    tensors: Annotated[int, says("Tensors of the state_dict, shared ones once.", ge=0)]
    contents: Annotated[
        Account | None,
        says(
            "What became of every tensor of the loaded files, and where the model's others came "
            "from; null for a random initialisation."
        ),
    ]
    cast: Annotated[
        Cast | None,
        says("What casting the weights to the dtype of the run did; null where it ended before."),
    ]
    outputs_of_random_heads: Annotated[
        list[str],
        says(
            "Outputs that depend on contents.initialised, found by changing those tensors: "
            "they are left out of the verdict."
        ),
    ]


class DeviceProof(Documented, frozen=True, kw_only=True):
    """Where everything was during the passes. Null where the run ended before."""

    simulated: Annotated[bool, says("True where the NPU is a simulation.")]
    parameters: Annotated[dict[str, int], says("Number of parameters by device.")]
    buffers: Annotated[dict[str, int], says("Number of buffers by device.")]
    outputs: Annotated[dict[str, str], says("Device of each output before it was copied back.")]
    parameter_bytes: Annotated[int, says("Bytes of all parameters on the device.", ge=0)]
    weights_fingerprint: Annotated[
        Sha256,
        says(
            "Of the weights as read back from the device; it is weights.fingerprint "
            "unless they were cast to another dtype."
        ),
    ]
    peak_bytes: Annotated[int | None, says("Peak memory allocated on the device; null on a CPU.")]
    fallback_ops: Annotated[
        list[str] | None,
        says(
            "Operators that ran on the CPU instead, from the move of the model to the last "
            "timed run; null with fallback_reason where they could not be watched."
        ),
    ]
    fallback_reason: Annotated[
        Reason | None, says("Why fallback_ops is null; null where it is not.")
    ]
    arithmetic: Annotated[
        ProbedArithmetic | None,
        says("What crafted inputs say of how it computes; null where the run ended before."),
    ] = None


class PrecisionFlags(Documented, frozen=True, kw_only=True):
    """The arithmetic flags of the run. Null where the run ended before."""

    requested: Annotated[PrecisionName, says("--precision.")]
    flags: Annotated[dict[str, bool | str | None], says("Flags as the library reads them back.")]
    not_set: Annotated[list[str], says("Flags that did not take the value asked for.")]

    @property
    def hf32(self) -> bool:
        """Whether an Ascend device was told to use HF32, for convolutions or matrix products."""
        return any(on is True for name, on in self.flags.items() if name.endswith("allow_hf32"))
