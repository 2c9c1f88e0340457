"""What a device may do to fp32 that a CPU does not: each behaviour is data.

Sources: the torch_npu wheels (2.9.0 and 2.13.0) for the flags, their defaults and the formula of GELU;
Ascend's description of HF32 (fp32's range, 11 explicit mantissa bits); NVIDIA's of TF32 (10). Whether
HF32 rounds to nearest or towards zero is not documented: both are here, and their errors differ.
Nothing here was measured on Ascend hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kit.arithmetic.rounding import BF16, FP16, HF32, HF32_TRUNCATED, TF32, Rounding

# Where the two factors of a product stand among an ATen operator's arguments. What is added to the
# product (a bias) keeps its bits.
CONVOLUTIONS: Mapping[str, tuple[int, ...]] = {
    "aten::convolution": (0, 1),
    "aten::_convolution": (0, 1),
    "aten::convolution_overrideable": (0, 1),
}
MATMULS: Mapping[str, tuple[int, ...]] = {
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::mv": (0, 1),
    "aten::dot": (0, 1),
    "aten::vdot": (0, 1),
    "aten::addmm": (1, 2),
    "aten::addmm_": (1, 2),
    "aten::_addmm_activation": (1, 2),
    "aten::addmv": (1, 2),
    "aten::addmv_": (1, 2),
    "aten::addbmm": (1, 2),
    "aten::addbmm_": (1, 2),
    "aten::baddbmm": (1, 2),
    "aten::baddbmm_": (1, 2),
}
GELUS: Mapping[str, tuple[int, ...]] = {"aten::gelu": (), "aten::gelu_": ()}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One deviation from fp32.

    `operators` are those that it changes (ATen's names, for all overloads), and where in each the operands
    stand that `rounding` rounds. Without a rounding they are GELUs: the exact formula becomes the tanh
    one. `source` says where it is documented, `switch` what switches it off (None: nothing does).
    """

    name: str
    operators: Mapping[str, tuple[int, ...]]
    rounding: Rounding | None = None
    source: str
    switch: str | None = None


_HF32 = "{}.allow_hf32 in torch_npu/npu/npu_config.py; cubeMathType 3 of the aclnn operators"
_TRUNCATED = "no document says whether HF32 rounds to nearest or towards zero"
_TF32 = "torch.backends.{}.allow_tf32; NVIDIA's A100 architecture paper"
_EVERY_PRODUCT = {**CONVOLUTIONS, **MATMULS}
_STRICT = "--precision strict ({} = False)"
_ROUNDED = (
    ("hf32_conv", CONVOLUTIONS, HF32, _HF32.format("conv"), "conv.allow_hf32"),
    ("hf32_matmul", MATMULS, HF32, _HF32.format("matmul"), "matmul.allow_hf32"),
    ("hf32_conv_truncated", CONVOLUTIONS, HF32_TRUNCATED, _TRUNCATED, "conv.allow_hf32"),
    ("hf32_matmul_truncated", MATMULS, HF32_TRUNCATED, _TRUNCATED, "matmul.allow_hf32"),
    ("tf32_conv", CONVOLUTIONS, TF32, _TF32.format("cudnn"), "cudnn.allow_tf32"),
    ("tf32_matmul", MATMULS, TF32, _TF32.format("cuda.matmul"), "cuda.matmul.allow_tf32"),
    ("fp16_operands", _EVERY_PRODUCT, FP16, "the 910A and the 310P have no fp32 matrix unit", None),
    ("bf16_operands", _EVERY_PRODUCT, BF16, "torch.set_float32_matmul_precision('medium')", None),
)
_COMPATIBLE = "TORCH_NPU_USE_COMPATIBLE_IMPL=1"

BEHAVIOURS: Mapping[str, Behaviour] = {
    **{
        name: Behaviour(
            name=name,
            operators=operators,
            rounding=rounding,
            source=source,
            switch=_STRICT.format(flag) if flag else None,
        )
        for name, operators, rounding, source, flag in _ROUNDED
    },
    "gelu_tanh": Behaviour(
        name="gelu_tanh",
        operators=GELUS,
        source=f"aclnnGelu, unless {_COMPATIBLE} stood at the import of torch_npu",
        switch=f"--precision strict ({_COMPATIBLE})",
    ),
}
