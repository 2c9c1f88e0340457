"""What a run was asked, and what its model declares: parts of run.json."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kit.accuracy.thresholds import Thresholds
from kit.devices.precision import Dtype, PrecisionName
from kit.documented import Documented, Sha256, says
from kit.models.adapter import Attention


class Arguments(Documented, frozen=True, kw_only=True):
    """What inference.py was asked. Paths are reduced to their last part, addresses hold no credentials."""

    model: Annotated[str | None, says("--model; null for the default model.")]
    revision: Annotated[
        str | None,
        says("--revision; null where none was named. model.revision is the commit it stood for."),
    ]
    device: Annotated[str, says("--device as given, such as auto or npu:0.")]
    weights: Annotated[str | None, says("Last part of --weights; null where none was named.")]
    require_pretrained: Annotated[bool, says("Whether a random initialisation was ruled out.")]
    offline: Annotated[bool, says("Whether the network was ruled out.")]
    mirrors: Annotated[
        list[str],
        says(
            "Hosts to be asked after the hub, in that order: --mirror, then KIT_MIRRORS, "
            "each once, without credentials and query. Empty where none was named, never "
            "null; whether one was asked is in weights.attempts."
        ),
    ]
    download_timeout_seconds: Annotated[float, says("Deadline of a download as a whole.")]
    input: Annotated[
        str | None,
        says("--input: the text, or the last part of the file's path; null for the default input."),
    ]
    data: Annotated[str | None, says("Last part of --data; null where none was given.")]
    samples: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says("--samples, the most that were to be run of --data; null for all."),
    ]
    batch_size: Annotated[
        int, says("--batch-size as asked for; samples.batch_size is what was taken.", ge=1)
    ]
    dtype: Annotated[
        Dtype,
        says("What parameters and floating point inputs were cast to."),
    ]
    precision: Annotated[PrecisionName, says("--precision.")]
    attention: Annotated[
        Attention | None,
        says("--attention; null where it was left to the library. model.attention is what it was."),
    ]
    warmup: Annotated[int, says("Untimed runs before the timed ones.", ge=0)]
    iterations: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says(
            "--iterations, the timed runs; null where it was left open: as many as about 5 s "
            "allow, at least 20, at most 1,000. latency.iterations says how many they were."
        ),
    ]
    seed: Annotated[
        int, says("Seed of the random initialisation, used only where no weights were loaded.")
    ]
    localize: Annotated[
        Annotated[int, Meta(ge=1)] | UnsetType,
        says("--localize: MiB that module_calls.safetensors may take; absent where not given."),
    ] = UNSET


class DeclaredOutput(Documented, frozen=True, kw_only=True):
    """One output, as the adapter declares it."""

    role: Annotated[
        Literal["features", "logits", "token_ids", "step_scores"],
        says("What the output is, and so how it is judged."),
    ]
    scores: Annotated[
        str | None, says("For token_ids, the output with the scores that chose them; else null.")
    ]
    thresholds: Thresholds


class DeclaredModel(Documented, frozen=True, kw_only=True):
    """What the adapter declares."""

    adapter: Annotated[
        Annotated[str, Meta(pattern="^[a-z0-9_]+$")] | None,
        says("Folder under models/; null for a model without one: files then say what it is."),
    ]
    name: Annotated[str, says("The name that reports use.")]
    hub_id: Annotated[
        str | None, says("Repository on the hub; null for a model of a folder, which is in none.")
    ]
    revision: Annotated[
        str | None,
        says(
            "Commit of the published files, or main where no commit of it was known; null for a model "
            "of a folder."
        ),
    ]
    vendor: Annotated[str | None, says("Who published the model; null where its files do not say.")]
    task: Annotated[str, says("What the model does.")]
    pipeline_tag: Annotated[
        str | None, says("The hub's name for the task; null where the class is named after none.")
    ]
    library: Annotated[str, says("Python library that implements it.")]
    license: Annotated[
        str | None, says("Licence of the weights; null where the model's files do not say.")
    ]
    architecture: Annotated[str, says("The library's name of the architecture.")]
    source_url: Annotated[
        str | None, says("Page of the original weights; null for a model of a folder.")
    ]
    primary_output: Annotated[
        str | None,
        says(
            "Output that the headline figures are of; null where the run of a model without a folder "
            "ended before it gave any."
        ),
    ]
    outputs: Annotated[
        dict[str, DeclaredOutput],
        says(
            "Declared outputs by name; of a model without a folder those that it gave, empty before."
        ),
    ]
    attention: Annotated[
        Attention | None,
        says(
            "transformers' implementation of attention, of the run and of the reference; null for other "
            "libraries, for other implementations, and where the run ended before."
        ),
    ]
    files: Annotated[
        dict[str, Sha256] | UnsetType,
        says(
            "Of a model without a folder under models/: the files of logs/model/ that say how it is "
            "built, config.json and perhaps generation_config.json, by name. Absent for any other."
        ),
    ] = UNSET
