"""What a reader of the claims needs and does not find. Notes: nothing here is false."""

from __future__ import annotations

from collections.abc import Iterator

from kit.lint.finding import Finding, note, quoted
from kit.lint.reader import Report
from kit.lint.stated import lines_of, random_weights, real_weights, runs_on_npu
from kit.lint.words import says

_ACCURACY = ("max_abs_diff", "mean_abs_diff", "cosine_similarity", "relative_l2", "max_over_range")
_LATENCIES = ("latency_ms", "npu_latency_ms", "cpu_latency_ms", "p50_ms")


def omissions(report: Report) -> Iterator[Finding]:
    """Every claim that lacks what a reader needs to believe or repeat it."""
    times = lines_of(report.figures(*_LATENCIES) or report.figures("cold_ms"))
    accuracy = lines_of(report.figures(*_ACCURACY))[:1]
    on_npu = accuracy if runs_on_npu(report) else []
    real = real_weights(report)
    # Of claims on which lines something is missing, the words that would be it, and what to add.
    for rule, lines, words, message in (
        ("no-warmup", times, "warm_up", "no warm-up is mentioned: the first call compiles and loads; state "
         "warm-up runs, timed runs and the first call apart"),
        ("no-weight-hash", real, "hash", "real weights without a hash: state the sha256 of the file that "
         "was loaded"),
        ("no-noise-floor", accuracy, "noise_floor", "no noise floor: run the device twice, the CPU twice "
         "and once in fp64, and state how far each is apart"),
        ("no-precision", on_npu, "precision", "no word on dtype or HF32 (convolutions use it by default): "
         "state the flags, read back"),
    ):  # fmt: skip
        if lines and not report.mentions(words):
            yield note(rule, lines, message)
    yield from _missing_version(report)
    yield from _vague_hardware(report)
    if not accuracy and not random_weights(report):
        shown = next((line.text for line in report.lines if line.text), "")
        message = f"{quoted(shown)} states no figure of accuracy; nothing was checked but its form"
        yield note("no-figures", [1], message)


def _missing_version(report: Report) -> Iterator[Finding]:
    """A result of an NPU without a version that decides on it."""
    results = runs_on_npu(report)
    needed = {"torch": "torch", "torch_npu": "torch_npu", "cann_version": "CANN"}
    if any("timm/" in claim.value for claim in report.of("model")):
        needed["timm"] = "timm"
    missing = [shown for name, shown in needed.items() if not report.of(name)]
    if results and missing:
        message = f"no version of {', '.join(missing)} is stated; a result of an NPU depends on it"
        yield note("version-missing", results[:1], message)


def _vague_hardware(report: Report) -> Iterator[Finding]:
    """Ascend 910 names a family whose members compute differently."""
    named = report.of("device", "device_name")
    lines = lines_of(claim for claim in named if says("chip_family", claim.value))
    if lines:
        message = (
            '"Ascend 910" is a family (910A multiplies in fp16, 910B in fp32 or HF32); name the chip, such '
            "as 910B4"
        )
        yield note("vague-hardware", lines, message)
