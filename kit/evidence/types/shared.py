"""What a record and a summary share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from kit.accuracy.documented import Documented, says

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
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


class SavedTensor(Documented, frozen=True, kw_only=True):
    """One tensor of a file."""

    shape: Annotated[list[Annotated[int, Meta(ge=0)]], says("Sizes, outermost first.")]
    dtype: Annotated[str, says("torch's name, such as float32.")]
    sha256: Annotated[Sha256, says("Of the elements in row-major order, little-endian.")]


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


class TriedSource(Documented, frozen=True, kw_only=True):
    """One source of weights that was tried."""

    source: Annotated[
        str, says("file, hf-cache, modelscope-cache, weights-cache, hub, mirror or modelscope.")
    ]
    target: Annotated[str, says("What was looked for, without credentials.")]
    outcome: Annotated[
        Literal["found", "absent", "refused", "failed", "skipped"], says("How it ended.")
    ]
    reason: Annotated[str, says("Why it ended so.")]
    seconds: Annotated[float, says("How long it took.", ge=0)]


class Weights(Documented, frozen=True, kw_only=True):
    """Which bytes were loaded, or why none were; null where the run ended before."""

    pretrained_used: Annotated[
        bool | None,
        says(
            "True when every loaded file's sha256 is the published one or the hub's own; "
            "null for a good file of unknown origin; false for a random initialisation."
        ),
    ]
    pretrained_reason: Annotated[str, says("Why pretrained_used is what it is.")]
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
        str | None, says("Why no weights were loaded; null where they were.")
    ]
    seed: Annotated[
        int | None, says("Seed of the random initialisation; null where weights were loaded.")
    ]
    files: Annotated[
        Annotated[list[LoadedFile], Meta(max_length=1)],
        says("The loaded file; empty for a random initialisation."),
    ]
    attempts: Annotated[list[TriedSource], says("Every source that was tried, in order.")]
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


class DeviceProof(Documented, frozen=True, kw_only=True):
    """Where everything was during the first pass. Null where the run ended before."""

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
            "Operators that ran on the CPU instead; null with fallback_reason where they "
            "could not be watched."
        ),
    ]
    fallback_reason: Annotated[str | None, says("Why fallback_ops is null; null where it is not.")]


class PrecisionFlags(Documented, frozen=True, kw_only=True):
    """The arithmetic flags of the run. Null where the run ended before."""

    requested: Annotated[Literal["default", "strict", "fast"], says("--precision.")]
    flags: Annotated[dict[str, bool | str | None], says("Flags as the library reads them back.")]
    not_set: Annotated[list[str], says("Flags that did not take the value asked for.")]


class Environment(Documented, frozen=True, kw_only=True):
    """What bears on a number besides the model. Null where the run ended before."""

    python: Annotated[str, says("Version of Python.")]
    system: Annotated[str, says("Operating system.")]
    machine: Annotated[str, says("Processor architecture.")]
    processor: Annotated[
        str | None, says("The CPU's own name; null where the system does not say.")
    ]
    cores: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says("Cores that the process may use; null where the system does not say."),
    ]
    threads: Annotated[int, says("Threads within one of torch's CPU operators.")]
    interop_threads: Annotated[
        int, says("Threads that torch may run independent CPU operators in.")
    ]
    deterministic: Annotated[
        bool, says("Whether torch was told to use deterministic algorithms only.")
    ]
    cann_version: Annotated[
        str | None,
        says(
            "Version of the CANN whose environment is set, from its installer's files, "
            "whatever the device; null where none is."
        ),
    ]
    driver_version: Annotated[
        str | None,
        says("Version of the Ascend driver, from its installer's file; null where none is seen."),
    ]
    packages: Annotated[
        dict[str, str | None], says("Installed versions; null where a package is absent.")
    ]
    variables: Annotated[
        dict[str, str],
        says(
            "Environment variables that change numerics, devices, threads or time, of a "
            "fixed list, where set. The value of one that is a path reads (a path), of "
            "one that is no plain setting (not shown)."
        ),
    ]
