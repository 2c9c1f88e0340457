"""What a reader of the claims needs and does not find. Notes: nothing here is false."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.lint.finding import Finding, note, quoted
from kit.lint.reader import Report
from kit.lint.stated import lines_of, random_weights, real_weights, runs_on_npu

_WARM = re.compile(r"warm[ -]?up|warmed|预热|热身", re.IGNORECASE)
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b|sha-?256|md5|校验和", re.IGNORECASE)
_FLOOR = re.compile(
    r"noise|噪声|bit-identical|逐位一致|(?:second|repeated) run|fp64|float64|重复运行|重复性|repeatab",
    re.IGNORECASE,
)
_PRECISION = re.compile(
    r"hf32|fp16|fp32|bf16|float16|float32|bfloat16|单精度|半精度|dtype", re.IGNORECASE
)
_FAMILY = re.compile(r"(?<![\w.])(?:Ascend|昇腾)\s?-?910(?![\w.])", re.IGNORECASE)
_ACCURACY = ("max_abs_diff", "mean_abs_diff", "cosine_similarity", "relative_l2", "max_over_range")
_LATENCIES = ("latency_ms", "npu_latency_ms", "cpu_latency_ms", "p50_ms")


def no_warmup(report: Report) -> Iterator[Finding]:
    """A latency without a word on warm-up: the first call, perhaps, which compiles."""
    times = report.figures(*_LATENCIES)
    cold = report.figures("cold_ms")
    if (times or cold) and not report.figures("warmup") and not report.mentions(_WARM):
        message = (
            "no warm-up is mentioned: the first call compiles and loads; state warm-up runs, timed runs "
            "and the first call apart"
        )
        yield note("no-warmup", lines_of(times or cold), message)


def no_weight_hash(report: Report) -> Iterator[Finding]:
    """Real weights without a hash: nobody can tell which."""
    real = real_weights(report)
    if real and not report.mentions(_HASH):
        message = "real weights without a hash: state the sha256 of the file that was loaded"
        yield note("no-weight-hash", real, message)


def version_missing(report: Report) -> Iterator[Finding]:
    """A result of an NPU without a version that decides on it."""
    results = runs_on_npu(report)
    if not results:
        return
    needed = {"torch": "torch", "torch_npu": "torch_npu", "cann_version": "CANN"}
    if any("timm/" in claim.value for claim in report.of("model")):
        needed["timm"] = "timm"
    missing = [shown for name, shown in needed.items() if not report.of(name)]
    if missing:
        message = f"no version of {', '.join(missing)} is stated; a result of an NPU depends on it"
        yield note("version-missing", results[:1], message)


def vague_hardware(report: Report) -> Iterator[Finding]:
    """Ascend 910 names a family whose members compute differently."""
    lines = [
        claim.line.number
        for claim in report.of("device", "device_name")
        if _FAMILY.search(claim.value)
    ]
    if lines:
        message = (
            '"Ascend 910" is a family (910A multiplies in fp16, 910B in fp32 or HF32); name the chip, such '
            "as 910B4"
        )
        yield note("vague-hardware", lines, message)


def no_noise_floor(report: Report) -> Iterator[Finding]:
    """Errors with nothing to tell them from rounding or chance."""
    figures = report.figures(*_ACCURACY)
    if figures and not report.mentions(_FLOOR):
        message = (
            "no noise floor: run the device twice, the CPU twice and once in fp64, and state how far each "
            "is apart"
        )
        yield note("no-noise-floor", lines_of(figures)[:1], message)


def no_precision(report: Report) -> Iterator[Finding]:
    """An NPU's error without the precision it computed in."""
    figures = report.figures(*_ACCURACY)
    if figures and runs_on_npu(report) and not report.mentions(_PRECISION):
        message = (
            "no word on dtype or HF32 (convolutions use it by default): state the flags, read back"
        )
        yield note("no-precision", lines_of(figures)[:1], message)


def no_figures(report: Report) -> Iterator[Finding]:
    """A report without one figure of accuracy: a clean result would mean nothing."""
    if not report.figures(*_ACCURACY) and not random_weights(report):
        shown = next((line.text for line in report.lines if line.text), "")
        yield note(
            "no-figures",
            [1],
            f"{quoted(shown)} states no figure of accuracy; nothing was checked but its form",
        )
