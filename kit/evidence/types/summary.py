"""summary.json: what a run and its comparison say, under the names that reports use."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from kit.accuracy.documented import Documented, says
from kit.accuracy.figures import Metrics
from kit.accuracy.repeats import Repeat
from kit.accuracy.thresholds import Thresholds
from kit.accuracy.truth import Truth
from kit.evidence.latency import Latency
from kit.evidence.types.shared import (
    DeviceProof,
    Environment,
    PrecisionFlags,
    SavedTensor,
    Shard,
    Status,
    Weights,
)

Figures = Annotated[
    dict[str, float | None], says("Numbers by name; null where one cannot be computed.")
]


class WorstReading(Documented, frozen=True, kw_only=True):
    """One reading, over all outputs."""

    rule: Annotated[str, says("The reading in words.")]
    figures: Annotated[Figures, says("Its numbers by name; null where one cannot be computed.")]
    within: Annotated[
        bool | None,
        says("Whether every output it applies to is within; null where it applies to none."),
    ]
    output: Annotated[
        str | None,
        says(
            "Output that the figures are of: the worst by this reading; null where it "
            "applies to none."
        ),
    ]


class Readings(Documented, frozen=True, kw_only=True):
    """The seven ways in which reports read "within 1%", side by side; null where nothing was compared."""

    mean_relative: WorstReading
    mean_relative_big: WorstReading
    softmax: WorstReading
    range: WorstReading
    one_minus_cosine: WorstReading
    relative_l2: WorstReading
    reports: WorstReading


class OutputReading(Documented, frozen=True, kw_only=True):
    """One reading, of one output."""

    figures: Annotated[Figures, says("Its numbers by name; null where one cannot be computed.")]
    within: Annotated[bool | None, says("Null where the reading does not apply to the output.")]


class JudgedOutput(Documented, frozen=True, kw_only=True):
    """One output, judged."""

    role: Annotated[Literal["features", "logits", "token_ids"], says("What the output is.")]
    thresholds: Thresholds
    verdict: Annotated[Literal["PASS", "FAIL", "INVALID"], says("Verdict on this output.")]
    reasons: Annotated[Annotated[list[str], Meta(min_length=1)], says("Why, with the numbers.")]
    within_1_percent: Annotated[
        bool | None,
        says(
            "As match_within_1_percent, for this output; null for token ids that agree "
            "and where the comparison is invalid."
        ),
    ]
    blank: Annotated[
        bool,
        says(
            "Whether both sides are equal and hold nothing that could differ (empty, all "
            "zero, one value everywhere): PASS beside an output that passes and holds "
            "something, else INVALID."
        ),
    ]
    metrics: Annotated[Metrics | None, says("Null for integers and where shapes do not compare.")]
    readings: Annotated[
        dict[str, OutputReading] | None,
        says(
            "The seven readings of 1% for this output; null where there are no metrics, "
            "or the output is blank."
        ),
    ]
    truth: Annotated[
        Truth | None,
        says("Both sides against the fp64 golden; null without a golden, and for integers."),
    ]


class SavedGolden(Documented, frozen=True, kw_only=True):
    """The same in fp64."""

    outputs: Annotated[
        dict[str, SavedTensor] | None,
        says("golden.safetensors: CPU, fp64 throughout; null where it was left out."),
    ]
    reason: Annotated[str | None, says("Why the golden was left out; null where it was not.")]


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
    golden: Annotated[SavedGolden, says("The same in fp64.")]


class WorstSample(Documented, frozen=True, kw_only=True):
    """The sample with the largest relative L2, one that has none before all others."""

    sample: Annotated[str, says("Its name in run.json.")]
    relative_l2: Annotated[
        float | None, says("Its relative L2; null where it cannot be computed, and for integers.")
    ]


class SampleOutput(Documented, frozen=True, kw_only=True):
    """One output over all samples."""

    measured: Annotated[
        int,
        says(
            "Samples that the means and maxima are over: all but those whose figures "
            "cannot be computed.",
            ge=0,
        ),
    ]
    worst: Annotated[
        WorstSample,
        says("The sample with the largest relative L2, one that has none before all others."),
    ]
    mean_relative_l2: Annotated[
        float | None, says("Mean of the samples' relative L2; null where none was measured.")
    ]
    max_relative_l2: Annotated[
        float | None, says("Largest relative L2 of a sample; null where none was measured.")
    ]
    mean_max_abs_diff: Annotated[
        float | None,
        says("Mean of the samples' largest |device - reference|; null where none was measured."),
    ]
    max_max_abs_diff: Annotated[
        float | None,
        says("Largest |device - reference| of all samples; null where none was measured."),
    ]


class Top1Rate(Documented, frozen=True, kw_only=True):
    """In how many samples the largest class or token is the reference's, in every row; null where the
    timed forward gives no classes or tokens."""

    output: Annotated[str, says("The ranked output.")]
    agree: Annotated[int, says("Samples that agree; one without a ranking does not.", ge=0)]
    count: Annotated[int, says("All samples.", ge=1)]
    rate: Annotated[float, says("agree / count.", ge=0, le=1)]
    low: Annotated[
        float,
        says(
            "Lower end of the rate's 95% score interval, with p = rate, n = count, z = "
            "1.96: (p + z^2/2n - z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) (E. B. "
            "Wilson, JASA 22 (1927) 209-212). It is about other samples drawn as these "
            "were.",
            ge=0,
            le=1,
        ),
    ]
    high: Annotated[float, says("Its upper end: the same with + before the root.", ge=0, le=1)]


class JudgedSamples(Documented, frozen=True, kw_only=True):
    """The samples of --data, each judged by the rules of the one input; samples.jsonl has the figures of
    each. Null where no --data was given or nothing was compared."""

    count: Annotated[int, says("Samples that were judged.", ge=1)]
    passed: Annotated[int, says("Samples of which every output passes.", ge=0)]
    failed: Annotated[int, says("Samples of which an output fails.", ge=0)]
    invalid: Annotated[int, says("Samples of which an output cannot be judged.", ge=0)]
    verdict: Annotated[
        Literal["PASS", "FAIL", "INVALID"],
        says(
            "INVALID where any sample is, then FAIL, else PASS. It bears on the summary's"
            " verdict, which alone says whether the device was a CPU."
        ),
    ]
    reason: Annotated[
        str | None,
        says(
            "How many do not pass, and why the worst of them does not (INVALID before "
            "FAIL, then by relative L2); null where all pass."
        ),
    ]
    outputs: Annotated[
        dict[str, SampleOutput],
        says("Figures over all samples by output: those of the one forward that is timed."),
    ]
    top1: Annotated[
        Top1Rate | None,
        says(
            "In how many samples the largest class or token is the reference's, in every "
            "row; null where the timed forward gives no classes or tokens."
        ),
    ]


class Noise(Documented, frozen=True, kw_only=True):
    """How repeatable both sides are; null where the run ended before."""

    device_repeat: Annotated[dict[str, Repeat], says("Two runs on the same input, by output.")]
    reference_repeat: Annotated[dict[str, Repeat] | None, says("Null where nothing was compared.")]


class Summary(Documented, frozen=True, kw_only=True):
    """Every field is always there. One that was not measured is null, and null_reasons says why under
    its name. The headline figures are of the primary output; every figure of every output is in
    outputs."""

    schema_version: Annotated[
        Literal[4], says("Version of this format; a reader refuses another one.")
    ]
    kit_version: Annotated[str, says("Version of the kit that wrote the summary.")]
    model: Annotated[
        str | None, says("The name that reports use; null where the record cannot be read.")
    ]
    vendor: Annotated[
        str | None, says("Who published the model; null where the record cannot be read.")
    ]
    task: Annotated[str | None, says("What the model does; null where the record cannot be read.")]
    source_url: Annotated[
        str | None, says("Page of the original weights; null where the record cannot be read.")
    ]
    revision: Annotated[
        str | None, says("Commit of the published files; null where the record cannot be read.")
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
        str | None, says("Why no weights were loaded; null where they were.")
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
        str | None,
        says(
            "One sentence: which rule decided match_within_1_percent, with its numbers; "
            "null where nothing was compared or it cannot be computed."
        ),
    ]
    readings_of_1_percent: Annotated[
        Readings | None,
        says(
            'The seven ways in which reports read "within 1%", side by side; null where '
            "nothing was compared."
        ),
    ]
    latency_ms: Annotated[
        float | None,
        says(
            "Mean of the warm, synchronised runs on the device of the run, whatever it "
            "is; null where the run ended before."
        ),
    ]
    npu_latency_ms: Annotated[
        float | None, says("latency_ms where the device is a real NPU; null otherwise.")
    ]
    verdict: Annotated[
        Literal["NOT_COMPARED", "PASS", "FAIL", "SELF_CHECK", "INVALID"],
        says(
            "SELF_CHECK takes the place of PASS where device and reference are both CPU. "
            "INVALID: the evidence cannot be trusted."
        ),
    ]
    submission_ready: Annotated[
        bool, says("True for a PASS with verified weights on a real NPU without CPU fallback.")
    ]
    submission_blockers: Annotated[
        list[str], says("Every reason why submission_ready is false; empty where it is true.")
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
    weights: Weights | None
    environment: Environment | None
    latency: Latency | None
    noise: Annotated[
        Noise | None, says("How repeatable both sides are; null where the run ended before.")
    ]
    precision: PrecisionFlags | None
    explanation: Annotated[None, says("What explains the error; null in this version.")]
    device_proof: DeviceProof | None
    null_reasons: Annotated[
        dict[str, Annotated[str, Meta(min_length=1)]],
        says("Why a field of the top level is null, for exactly those that are."),
    ]
