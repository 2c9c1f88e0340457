"""What the console is told of a run, made of its record alone: what is new in it, and any doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from kit.errors import some
from kit.evidence.flag_claims import why_not_believed
from kit.evidence.latency import Latency
from kit.evidence.logs import MODULE_CALLS, log
from kit.evidence.trust import why_no_latency
from kit.evidence.types.arithmetic import ProbedArithmetic, ProductArithmetic
from kit.evidence.types.run import ChosenDevice, DeviceNoise, RecordedCalls, RecordedSamples, Run
from kit.evidence.types.shared import DeviceProof, PrecisionFlags, Weights
from kit.machine.environment import Environment
from kit.weights.fitting import Account, random_heads

if TYPE_CHECKING:
    from kit.weights.casting import Cast


def tell_news(before: Run, now: Run) -> None:
    """What of a record was not yet in it `before`, each section in its own way."""
    if (device := now.device) and device is not before.device and now.precision:
        _tell_device(device, now.precision)
    if (weights := now.weights) and weights is not before.weights:
        _tell_weights(before.weights, weights, now.arguments.seed)
    if now.input and now.input is not before.input:
        log.info(f"input {now.input.description}")
    if (proof := now.device_proof) and proof is not before.device_proof:
        if proof.arithmetic and now.device:
            tell_arithmetic(now.device.kind, proof.arithmetic)
        else:
            _warn_of_fallbacks(proof)
    if (samples := now.samples) and samples is not before.samples:
        log.info(
            f"{samples.count} samples of {now.arguments.data} run in batches of up to "
            f"{samples.batch_size}, the first batch twice"
        )
        _warn_of_fallbacks(samples)
    if now.noise and now.latency and now.noise is not before.noise:
        tell_repeats(now.noise)
        tell_latency(now.latency, now.noise)
        if now.environment:
            tell_load(now.environment)
    if now.module_calls is not UNSET and now.module_calls is not before.module_calls:
        _tell_module_calls(now.module_calls)


def _tell_device(device: ChosenDevice, precision: PrecisionFlags) -> None:
    """What of the device and its flags is not as it should be."""
    if device.simulated:
        log.warning(
            f"this NPU is a simulation ({device.why_simulated}): nothing here is an NPU result"
        )
    for flag in precision.not_set:
        log.warning(f"--precision {precision.requested}: {flag} did not take the value")


def _tell_module_calls(calls: RecordedCalls) -> None:
    if calls.sha256 is not None:
        log.info(f"{calls.recorded} module calls recorded in {MODULE_CALLS}")
    if calls.reason is not None:
        log.warning(f"module calls: {calls.reason}")


def _warn_of_fallbacks(watched: DeviceProof | RecordedSamples) -> None:
    if watched.fallback_ops:
        log.warning(f"fell back to the CPU: {', '.join(watched.fallback_ops)}")
    elif watched.fallback_ops is None:
        log.warning(f"CPU fallback was not watched: {watched.fallback_reason}")


def _tell_weights(before: Weights | None, now: Weights, seed: int) -> None:
    """What of the weights was not yet on record: where they are from, which heads are random, the cast."""
    if before is None:
        _tell_origin(now)
        if now.files and now.contents:
            _tell_contents(now.contents, seed)
        before = now
    if (outputs := now.outputs_of_random_heads) != before.outputs_of_random_heads:
        log.warning(f"left out of the verdict, for their heads are random: {', '.join(outputs)}")
    if now.cast and now.cast is not before.cast:
        _tell_cast(now.cast)


def _tell_origin(weights: Weights) -> None:
    if not weights.files:
        log.warning(f"RANDOM WEIGHTS (seed {weights.seed}): no pretrained weights were found")
        log.debug(weights.pretrained_reason)
        for attempt in weights.attempts:
            if attempt.outcome != "found":  # a companion
                log.warning(f"  {attempt.source}: {attempt.line}")
        return
    file = weights.files[0]
    log.info(
        f"weights {weights.weight_path}: sha256 {file.sha256[:12]}... ({file.hash_origin}), "
        f"{weights.parameters:,} parameters"
    )


def _tell_contents(account: Account, seed: int) -> None:
    """What of a file is not simply loaded, a line each."""
    for name, what in account.legacy.items():
        log.info(f"legacy tensor {name}: {what}")
    if account.renamed:
        log.info(f"{len(account.renamed)} tensors have new names in the library")
    if account.converted:
        log.info(f"{len(account.converted)} tensors are made by the library of the file's")
    if account.unused:
        log.warning(f"of no part of this architecture: {some(account.unused)}")
    if account.nonfinite:
        count = sum(account.nonfinite.values())
        log.warning(
            f"{count:,} elements of the file are NaN or infinite, in {some(account.nonfinite)}"
        )
    if heads := random_heads(account):
        log.warning(f"RANDOM HEAD (seed {seed}): no file carries {some(heads)}")


def _tell_cast(cast: Cast) -> None:
    """What the cast to the dtype of the run broke, and what it left alone."""
    if cast.kept_float32:
        log.info(f"{len(cast.kept_float32)} tensors stay float32, as the library keeps them")
    for what, lost in (("infinite", cast.became_infinite), ("0", cast.became_zero)):
        if lost:
            log.warning(
                f"cast to {cast.dtype}: {sum(lost.values()):,} elements became {what} in {some(lost)}"
            )


def tell_repeats(noise: DeviceNoise) -> None:
    """Whether the second run and the last timed one give what the first gave."""
    found = {"second run": noise.device_repeat, "last timed run": noise.timed_repeat}
    same = [
        which
        for which, repeats in found.items()
        if all(repeat.bit_identical for repeat in repeats.values())
    ]
    if same:
        log.info(f"{' and '.join(same)} identical")
    for which in found.keys() - same:
        distances = [repeat.relative_l2 for repeat in found[which].values()]
        known = [distance for distance in distances if distance is not None]
        if len(known) < len(distances):
            log.warning(f"the {which} differs by what cannot be computed")
        else:
            log.warning(f"the {which} differs by a relative L2 of up to {max(known):.3g}")


def tell_arithmetic(kind: str, probed: ProbedArithmetic) -> None:
    """What crafted inputs revealed, on one line, the rest in the log; and what of it is against the run."""
    bits = {"matmul": probed.matmul, "convolution": probed.convolution}
    found = [
        f"{name} {product.operand_bits if product and product.operand_bits else 'unknown'}"
        for name, product in bits.items()
    ]
    log.info(f"arithmetic by probe: mantissa bits of {', '.join(found)}; GELU {probed.gelu}")
    for line in arithmetic_lines(probed):
        log.debug(line)
    for doubt in why_not_believed(kind, probed):
        log.warning(doubt)


def arithmetic_lines(probed: ProbedArithmetic) -> list[str]:
    """The findings of a probe, a line an operator; what could not be told reads unknown."""
    lines = [f"how {probed.dtype} is computed, by crafted inputs:"]
    for name, product in (("matmul", probed.matmul), ("convolution", probed.convolution)):
        lines.append(f"  {name}: {_product_line(product)}")
    lines.append(f"  gelu: {probed.gelu}")
    lines.append(f"  bit for bit as this CPU: {', '.join(probed.same_as_cpu) or 'nothing'}")
    return lines + [f"  {what} failed: {error}" for what, error in probed.failed.items()]


def _product_line(product: ProductArithmetic | None) -> str:
    if product is None:
        return "unknown"
    bits, width = product.operand_bits, product.accumulator_bits
    rounding = "" if product.rounding == "none" else f" (rounding {product.rounding})"
    narrow = ", float16's range" if product.wide_range is False else ""
    order = product.order if product.block is None else f"blocks of {product.block}"
    return (
        f"operands of {bits or 'unknown'} mantissa bits{rounding}{narrow}, sums of "
        f"{width or 'unknown'} significant bits, order {order}, subnormal operands "
        f"{product.subnormal_operands}, results {product.subnormal_results}"
    )


def tell_latency(latency: Latency, noise: DeviceNoise) -> None:
    """The latency, and what the runs themselves say against it."""
    p90 = "" if latency.p90_ms is None else f", {latency.p90_ms:.2f} p90"
    log.info(
        f"latency {latency.mean_ms:.2f} ms mean, {latency.p50_ms:.2f} p50{p90} over "
        f"{latency.iterations} runs; first call {latency.cold_ms:.2f} ms"
    )
    if reason := why_no_latency(latency, noise):
        log.warning(f"no latency may be quoted: {reason}")
    if latency.spread != "steady":
        much = " much: quote none of these times" if latency.spread == "unstable" else ""
        share = latency.iqr_ms / latency.p50_ms
        log.warning(f"the timed runs vary{much} (interquartile range {share:.0%} of the median)")


def tell_load(environment: Environment) -> None:
    """Where more threads run than cores were idle."""
    threads, idle = environment.threads, environment.idle_cores
    if idle is not None and threads > idle:
        fewer = f", or set OMP_NUM_THREADS={max(1, idle)}" if threads > 1 else ""
        log.warning(
            f"{threads} threads, and {idle} idle cores before the run (load average "
            f"{environment.load_average:.2f}): times may be many times too long; end the other "
            f"work{fewer}"
        )
