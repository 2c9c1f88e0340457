"""The options a program sets through torch.npu, kept by the names that torch_npu's C++ knows.

`torch.npu.conv.allow_hf32 = False`, say, is `set_options({"ALLOW_CONV_HF32": "disable"})`, as in
torch_npu/npu/npu_config.py of the 2.13.0 wheel. The defaults are those of that file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ._switches import SWITCHES

_given: dict[str, str] = {
    "TORCH_NPU_USE_COMPATIBLE_IMPL": os.environ.get("TORCH_NPU_USE_COMPATIBLE_IMPL", "0")
}


def set_options(options: Mapping[str, str]) -> None:
    """Take over `options`; one that nothing reads is kept without a word."""
    _given.update(options)


def conv_hf32() -> bool:
    """Whether convolutions may round to HF32."""
    return _given.get("ALLOW_CONV_HF32", "enable") == "enable"


def matmul_hf32() -> bool:
    """Whether matrix products may round to HF32."""
    return _given.get("ALLOW_MATMUL_HF32", "disable") == "enable"


def compatible_impl() -> bool:
    """Whether operators are to follow PyTorch's own formulas, GELU's among them."""
    return _given["TORCH_NPU_USE_COMPATIBLE_IMPL"] == "1"


def jit_compile() -> bool:
    """Whether kernels are compiled for each shape; the older chip's default, not the 910B's."""
    return _given.get("jitCompile", "enable" if SWITCHES.chip == "910A" else "disable") == "enable"
