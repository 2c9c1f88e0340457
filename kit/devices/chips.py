"""What follows from the name of an Ascend chip, as its runtime gives it."""

from __future__ import annotations

import re

# Names and generations: the table of torch_npu/csrc/core/npu/NpuVariables.cpp. A bare Ascend910B is of the
# first generation there; the later one, which has HF32, is Ascend910B1 to 910B4 and Ascend910_9362 and up.
_FP16_ONLY = re.compile(
    r"(?<!\w)((Ascend ?)?(310(?!\d)|910(A|Pro|Premium|(?!\w)))|Ascend910B(?!\w))"
)


def multiplies_in_fp16(name: str) -> bool:
    """Whether its matrix unit knows fp16 and no fp32, so that products are fp16's whatever the flags say:
    the first 910 (A, B, ProA, ProB, PremiumA) and every 310."""
    return _FP16_ONLY.search(name) is not None
