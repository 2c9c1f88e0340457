"""Which behaviours a device may have, and what the recorded flags say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kit.devices.npu import multiplies_in_fp16
from kit.evidence.types.run import FinishedRun


@dataclass(frozen=True, kw_only=True)
class Expected:
    """`active` says of each behaviour whether the flags have it on (None: they say nothing, and it is
    what such a device does); `others` are tried where those explain too little."""

    active: Mapping[str, bool | None]
    others: tuple[str, ...] = ()

    @property
    def recorded(self) -> frozenset[str]:
        """What the device should have done."""
        return frozenset(name for name, active in self.active.items() if active is not False)


def expected_of(run: FinishedRun) -> Expected:
    """Of the device of a run, by its kind, its name and its flags."""
    flags = run.precision.flags
    if run.device.kind == "npu":
        exact_gelu = _flag(flags.get("compatible_impl"))
        return npu_behaviours(
            fp16_only=multiplies_in_fp16(run.device.name),
            conv_hf32=_flag(flags.get("conv.allow_hf32")),
            matmul_hf32=_flag(flags.get("matmul.allow_hf32")),
            gelu_tanh=None if exact_gelu is None else not exact_gelu,
        )
    if run.device.kind == "cuda":
        return Expected(
            active={
                "tf32_conv": _flag(flags.get("cudnn.allow_tf32")),
                "tf32_matmul": _flag(flags.get("cuda.matmul.allow_tf32")),
            },
            others=("fp16_operands", "bf16_operands"),
        )
    return Expected(active={})


def npu_behaviours(
    *, fp16_only: bool, conv_hf32: bool | None, matmul_hf32: bool | None, gelu_tanh: bool | None
) -> Expected:
    """Of an Ascend chip; `fp16_only` ones have no use for the two HF32 flags."""
    if fp16_only:
        return Expected(
            active={"fp16_operands": True, "gelu_tanh": gelu_tanh},
            others=("hf32_conv", "hf32_matmul"),
        )
    return Expected(
        active={"hf32_conv": conv_hf32, "hf32_matmul": matmul_hf32, "gelu_tanh": gelu_tanh},
        others=("hf32_conv_truncated", "hf32_matmul_truncated", "fp16_operands"),
    )


def _flag(value: bool | str | None) -> bool | None:
    return value if isinstance(value, bool) else None
