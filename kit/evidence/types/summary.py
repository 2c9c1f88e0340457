"""summary.json: what a run and its comparison say, under the names that reports use."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from kit.accuracy.judged import JudgedOutput
from kit.accuracy.judged_samples import JudgedSamples
from kit.accuracy.readings import Readings
from kit.accuracy.repeats import Repeat
from kit.accuracy.trace import Trace
from kit.documented import Codes, Documented, says
from kit.evidence.latency import Latency
from kit.evidence.types.explanation import Explanation
from kit.evidence.types.shared import (
    DeviceProof,
    PrecisionFlags,
    Shard,
    Status,
    Weights,
)
from kit.machine.environment import Environment
from kit.models.adapter import Attention
from kit.storage.fingerprint import SavedTensor
from kit.words import Reason

Verdict = Literal["NOT_COMPARED", "PASS", "FAIL", "SELF_CHECK", "INVALID"]


class SavedGolden(Documented, frozen=True, kw_only=True):
    """The golden: the reference in fp64 throughout."""

    outputs: Annotated[
        dict[str, SavedTensor] | None,
        says("golden.safetensors; null where it was left out."),
    ]
    reason: Annotated[Reason | None, says("Why the golden was left out; null where it was not.")]


class SavedReference(Documented, frozen=True, kw_only=True):
    """The reference's saved outputs, by their hashes, and where it ran; null where nothing was compared."""

    outputs: Annotated[dict[str, SavedTensor], says("reference.safetensors: CPU, fp32.")]
    samples: Annotated[
        list[Shard],
        says("The reference's outputs of the samples of --data; empty where none was given."),
    ]
    environment: Annotated[
        Environment | None,
        says("Of the machine that the reference ran on, which need not be the device's."),
    ]
    golden: Annotated[SavedGolden, says("The reference in fp64 throughout.")]


class Noise(Documented, frozen=True, kw_only=True):
    """How repeatable both sides are; null where the run ended before."""

    device_repeat: Annotated[dict[str, Repeat], says("Two runs on the same input, by output.")]
    timed_repeat: Annotated[
        dict[str, Repeat],
        says(
            "The last timed run beside the first run, by output of the one forward that is timed."
        ),
    ]
    reference_repeat: Annotated[dict[str, Repeat] | None, says("Null where nothing was compared.")]


class Summary(Documented, frozen=True, kw_only=True):
    """Every field is always there. One that was not measured is null, and null_reasons says why under
    its name. The headline figures are of the primary output; every figure of every output is in
    outputs."""

    schema_version: Annotated[
        Literal[6], says("Version of this format; a reader refuses another one.")
    ]
    kit_version: Annotated[str, says("Version of the kit that wrote the summary.")]
    model: Annotated[
        str | None, says("The name that reports use; null where the record cannot be read.")
    ]
    vendor: Annotated[
        str | None,
        says(
            "Who published the model; null where its files do not say, and where the record cannot be "
            "read."
        ),
    ]
    task: Annotated[str | None, says("What the model does; null where the record cannot be read.")]
    source_url: Annotated[
        str | None,
        says(
            "Page of the original weights; null for a model of a folder, and where the record cannot "
            "be read."
        ),
    ]
    revision: Annotated[
        str | None,
        says(
            "Commit of the published files; null for a model of a folder, and where the record cannot "
            "be read."
        ),
    ]
    started_at: Annotated[
        str | None, says("When the run began: UTC, ISO 8601; null where the record cannot be read.")
    ]
    simulated: Annotated[
        bool | None,
        says(
            "True where the NPU is a simulation: then nothing here is an NPU result, "
            "whatever the verdict; null where the run ended before."
        ),
    ]
    dtype: Annotated[
        str | None,
        says(
            "What parameters and floating point inputs were cast to; null where the "
            "record cannot be read."
        ),
    ]
    attention: Annotated[
        Attention | None,
        says(
            "transformers' implementation of attention, on both sides; null for other libraries, for other "
            "implementations, and where the run ended before."
        ),
    ]
    primary_output: Annotated[
        str | None,
        says("Output that the headline figures are of; null where the record cannot be read."),
    ]
    status: Status
    device: Annotated[
        str | None,
        says(
            "torch's name of the device of the run, such as npu:0; null where the run "
            "ended before it was chosen."
        ),
    ]
    device_name: Annotated[
        str | None,
        says(
            "The hardware's own name; a simulation says Simulated NPU; null where the run"
            " ended before."
        ),
    ]
    device_count: Annotated[
        int | None,
        says("Devices of this kind that the process saw; null where the run ended before."),
    ]
    cann_version: Annotated[str | None, says("Version of CANN; null for anything but a real NPU.")]
    reference_device: Annotated[
        str | None, says("Where the reference ran; null where nothing was compared.")
    ]
    pretrained_used: Annotated[
        bool | None,
        says(
            "True when every loaded file's sha256 is the published one or the hub's own; "
            "null for a good file of unknown origin; false for a random initialisation."
        ),
    ]
    local_weight_used: Annotated[
        bool | None,
        says(
            "True when weights were loaded and no byte of them came over the network in "
            "this run; null where the run ended before."
        ),
    ]
    weight_path: Annotated[
        str | None,
        says(
            "hf-cache:..., modelscope:..., weights-cache:... or file:NAME; null for a "
            "random initialisation."
        ),
    ]
    fallback_used: Annotated[
        bool | None,
        says("True when the weights are a random initialisation; null where the run ended before."),
    ]
    fallback_reason: Annotated[
        Reason | None, says("Why no weights were loaded; null where they were.")
    ]
    input: Annotated[
        str | None, says("The text, or the image's name and size; null where the run ended before.")
    ]
    input_tokens: Annotated[int | None, says("Tokens of the text; null for other inputs.")]
    decoder_input: Annotated[
        list[list[int]] | None, says("Fixed decoder token ids; null for models without a decoder.")
    ]
    output_shape: Annotated[
        list[int] | None, says("Shape of the primary output; null where the run ended before.")
    ]
    max_abs_diff: Annotated[
        float | None,
        says(
            "Largest |device - reference| of the primary output; null where nothing was "
            "compared or it cannot be computed."
        ),
    ]
    mean_abs_diff: Annotated[
        float | None,
        says(
            "Mean |device - reference| of the primary output; null where nothing was "
            "compared or it cannot be computed."
        ),
    ]
    cosine_similarity: Annotated[
        float | None,
        says(
            "Of the primary output, summed in fp64; null where nothing was compared or it"
            " cannot be computed."
        ),
    ]
    top1_match: Annotated[
        bool | None,
        says(
            "Whether the largest class or token agrees in every row of the ranked output "
            "(the primary one if it is logits, else the first that is); null where the "
            "model has none."
        ),
    ]
    top5_match: Annotated[
        bool | None,
        says(
            "Whether the five largest agree as a set in every row of the ranked output; "
            "null where the model has none."
        ),
    ]
    torch_allclose_atol_5e_2_rtol_1e_2: Annotated[
        bool | None,
        says(
            "|device - reference| <= 0.05 + 0.01 |reference| everywhere in the primary "
            "output; null where nothing was compared or it cannot be computed."
        ),
    ] = field(name="torch_allclose_atol_5e-2_rtol_1e-2")
    match_within_1_percent: Annotated[
        bool | None,
        says(
            "Relative L2 <= 1% and max|diff|/max|ref| <= 1%, in every output but token "
            "ids, and no part above its floor past 1%; null where it cannot be decided."
        ),
    ]
    match_basis: Annotated[
        Reason | None,
        says(
            "One sentence: which rule decided match_within_1_percent, with its numbers; "
            "null where nothing was compared or it cannot be computed."
        ),
    ]
    readings_of_1_percent: Annotated[
        Readings | None,
        says(
            "The ways in which reports read 'within 1%' and other people's rules, side by side; null "
            "where nothing was compared."
        ),
    ]
    latency_ms: Annotated[
        float | None,
        says(
            "Mean of the warm, synchronised runs on the device of the run, whatever it "
            "is; null where the run ended before, where synchronize returned before the "
            "device was done, and where the timed runs gave other outputs than the first."
        ),
    ]
    npu_latency_ms: Annotated[
        float | None, says("latency_ms where the device is a real NPU; null otherwise.")
    ]
    verdict: Annotated[
        Verdict,
        says(
            "SELF_CHECK takes the place of PASS where device and reference are both CPU. "
            "INVALID: the evidence cannot be trusted."
        ),
    ]
    submission_ready: Annotated[
        bool,
        says(
            "True for a PASS within 1% in every output, whatever limits the model declares, "
            "with verified weights, on a real NPU, without CPU fallback to the end of the "
            "run, with a latency, and without an error that is unexplained."
        ),
    ]
    submission_blockers: Annotated[
        list[Reason], says("Every reason why submission_ready is false; empty where it is true.")
    ]
    outputs: Annotated[
        dict[str, JudgedOutput] | None,
        says("Every judged output; null where nothing was compared."),
    ]
    reference: Annotated[
        SavedReference | None,
        says(
            "The reference's saved outputs, by their hashes, and where it ran; null where"
            " nothing was compared."
        ),
    ]
    samples: Annotated[
        JudgedSamples | None,
        says(
            "The samples of --data, each judged by the rules of the one input; "
            "samples.jsonl has the figures of each. Null where no --data was given or "
            "nothing was compared."
        ),
    ]
    trace: Annotated[
        Trace | None,
        says(
            "A text step by step, with the CPU's tokens on both sides; null where the model generates "
            "none or nothing was compared."
        ),
    ]
    weights: Weights | None
    environment: Environment | None
    latency: Annotated[
        Latency | None,
        says("As in run.json; null where latency_ms is: what contradicts it is no latency."),
    ]
    noise: Annotated[
        Noise | None, says("How repeatable both sides are; null where the run ended before.")
    ]
    precision: PrecisionFlags | None
    explanation: Annotated[
        Explanation | None,
        says("What explains the error; null where nothing was compared, or it was left out."),
    ]
    device_proof: DeviceProof | None
    null_reasons: Annotated[
        dict[str, Reason],
        says("Why a field of the top level is null, for exactly those that are."),
    ]
    reason_codes: Codes
