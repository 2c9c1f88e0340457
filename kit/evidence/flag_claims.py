"""What the flags of a run promise of the arithmetic, beside what the probe found.

A flag that allows less promises nothing but that; one that forbids it promises all the bits of float32. A
device that computes with more than it has to contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from kit.devices.npu import multiplies_in_fp16
from kit.evidence.types.arithmetic import FlagContradiction, ProbedArithmetic
from kit.words import Reason

_FP32, _HF32, _TF32 = 23, 11, 10
# By flag, the operator that it is of, and the bits that it promises where it is on.
_PRODUCTS = {
    "conv.allow_hf32": ("convolution", _HF32),
    "matmul.allow_hf32": ("matmul", _HF32),
    "cudnn.allow_tf32": ("convolution", _TF32),
    "cuda.matmul.allow_tf32": ("matmul", _TF32),
}
_FP16 = 10


def contradicted_flags(
    flags: Mapping[str, bool | str | None], device_name: str, probed: ProbedArithmetic
) -> list[FlagContradiction]:
    """The flags that promise more than was found; none of what was not found out."""
    return [*_about_products(flags, device_name, probed), *_about_gelu(flags, probed)]


def held_to_flags(
    probed: ProbedArithmetic, flags: Mapping[str, bool | str | None], device_name: str
) -> ProbedArithmetic:
    """The findings of a probe with the flags that they contradict."""
    contradicted = contradicted_flags(flags, device_name, probed)
    return msgspec.structs.replace(probed, contradictions=contradicted)


def _about_products(
    flags: Mapping[str, bool | str | None], device_name: str, probed: ProbedArithmetic
) -> Iterator[FlagContradiction]:
    if probed.dtype != "float32":  # the flags are of float32
        return
    least = _FP16 if multiplies_in_fp16(device_name) else _FP32
    for flag, (operator, allowed) in _PRODUCTS.items():
        product = probed.matmul if operator == "matmul" else probed.convolution
        found = product.operand_bits if product else None
        if not isinstance(flags.get(flag), bool) or found is None:
            continue
        promised = min(least, allowed) if flags[flag] else least
        if found < promised:
            yield FlagContradiction(
                flag=flag,
                operator="matmul" if operator == "matmul" else "convolution",
                promised=promised,
                found=found,
            )


def _about_gelu(
    flags: Mapping[str, bool | str | None], probed: ProbedArithmetic
) -> Iterator[FlagContradiction]:
    if flags.get("compatible_impl") is True and probed.gelu == "tanh":
        yield FlagContradiction(
            flag="compatible_impl", operator="gelu", promised="erf", found="tanh"
        )


def contradiction_told(found: FlagContradiction) -> Reason:
    """One contradiction, in words."""
    if found.operator == "gelu":
        return Reason("flag_gelu", flag=found.flag, promised=found.promised, found=found.found)
    return Reason(
        "flag_bits",
        flag=found.flag,
        promised=found.promised,
        operator=found.operator,
        found=found.found,
    )


def why_not_believed(kind: str, probed: ProbedArithmetic) -> list[Reason]:
    """What the probe says against the run of a device of that kind."""
    told = [contradiction_told(each) for each in probed.contradictions]
    if kind != "cpu" and probed.answers_as_cpu:
        told.append(Reason("answers_as_cpu", operators=probed.same_as_cpu))
    return told
