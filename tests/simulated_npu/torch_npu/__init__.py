"""A simulated Ascend NPU: `import torch_npu` gives PyTorch an `npu:0` that computes on the CPU.

For tests on machines without an NPU. It stands where torch_npu 2.13.0 stands, with the part of its
API that inference programs use (torch.npu), its texts when something fails and, so far as it is
known, its way of rounding. It never passes for the real one: there is no native library beside it,
`torch_npu.SIMULATED` is True, and its devices are called "Simulated NPU (...)".

    TORCH_DEVICE_BACKEND_AUTOLOAD=0 PYTHONPATH=tests/simulated_npu python script.py

Its switches are environment variables, read at import; an unknown one is an error:

| switch | default | what it does |
|---|---|---|
| SIM_NPU_DEVICES=0, 1, 2 | 1 | how many devices there are; using one beyond raises error 107001 |
| SIM_NPU_EXACT=1 | off | no bending of the arithmetic: fp32 as the CPU computes it |
| SIM_NPU_CHIP=910B4, 910A | 910B4 | 910A: matmul and conv inputs are rounded to fp16, always |
| SIM_NPU_GELU=tanh, erf | tanh | the formula behind F.gelu(approximate="none") |
| SIM_NPU_BITS=N | by flag | matmul and conv inputs keep N explicit mantissa bits, always |
| SIM_NPU_ROUNDING=nearest, zero | nearest | how inputs lose their bits: ties to even, or cut off |
| SIM_NPU_ACCUMULATION=fp32, fp64 | fp32 | what products are summed in, before the result is fp32 |
| SIM_NPU_BLOCK=N | none | sums of N products each, added up one after the other |
| SIM_NPU_SUBNORMALS=keep, flush | keep | flush: in inputs and results of matmul and conv, 0 instead |
| SIM_NPU_PLANT=aten::op:N:KIND | none | the Nth call of a forward is wrong as _planted.py says of KIND |
| SIM_NPU_CACHE=STEP:KIND | none | at that step of a text the cache is wrong as _caches.py says of KIND |
| SIM_NPU_FALLBACK=aten::op,... | none | these write the fallback line on fd 2, once a process; |
| | | aten::op:N at its Nth call, as where it takes some shapes only |
| SIM_NPU_FALLBACK_TEXT=TEXT | 2.13's | another wording of that line; OP in it is the operator |
| SIM_NPU_FAULT=aten::op:N:SCALE | none | the Nth result is multiplied by SCALE (1.05 if left out) |
| SIM_NPU_NAN=aten::op:N | none | the first element of the Nth result is NaN |
| SIM_NPU_RAISE=aten::op:N:TEXT | none | the Nth call raises RuntimeError(TEXT) |
| SIM_NPU_ASYNC=aten::op:N:TEXT | none | the Nth call fails later: whoever waits next meets TEXT |
| SIM_NPU_ABORT=aten::op:N:TEXT | none | the Nth call writes TEXT on fd 2 and aborts the process |
| SIM_NPU_OOM=BYTES | 32 GiB | the size of the device's memory |
| SIM_NPU_NONREPEATABLE=SCALE | 0 | fresh relative noise of that size on every matmul's result |
| SIM_NPU_DELAY_MS=X | 0 | every op but views takes X ms of device time, in the background |
| SIM_NPU_DELAY_OP=aten::op | all | only this op takes that time |
| SIM_NPU_SYNC_SHARE=0.4 | 1 | synchronize waits for that share of the work and returns; a copy to |
| | | the CPU still waits for all of it |
| SIM_NPU_SYNC_FAIL=1 | off | whoever synchronizes meets an asynchronous fault, error 507015 |
| SIM_NPU_HANG=1 | off | the first allocation never returns |
| SIM_NPU_IMPORT_ERROR=TEXT, 1 | none | the import raises ImportError(TEXT); 1: no libhccl.so; |
| | | TEXT of `Exception: ...` is raised as a plain Exception, as of a partly sourced CANN |
| SIM_NPU_INIT_ERROR=TEXT | none | there is a device, and its first use raises RuntimeError(TEXT) |
| SIM_NPU_STDOUT=1 | off | the import and the first operator print on stdout, as Python and as C++ do |
| SIM_NPU_CANN=8.5.1 | none | what get_cann_version() and torch.version.cann say |

An op is named as `aten::add`, for all its overloads, or as `aten::add.Tensor`; N counts the calls
from 1 over the process (of SIM_NPU_PLANT: since somebody last synchronized, so that every forward has the
same fault), `*` means every call, `N+` the Nth and all after it. Operators that PyTorch
composes of others never reach a device: `F.linear` is `aten::addmm` or `aten::mm` here, attention is
`aten::bmm` and `aten::_safe_softmax`. A switch that names such a composition is an error.

Like the real device: torch.npu.conv.allow_hf32 and torch.npu.matmul.allow_hf32 steer the rounding,
TORCH_NPU_USE_COMPATIBLE_IMPL=1 or torch.npu.use_compatible_impl(True) bring back the exact GELU,
float64 has no matmul and no conv, and TORCH_NPU_DISABLED_WARNING=1 or TORCH_NPU_WARNING_DISABLE=1
silence the fallback line.

Unlike it: values are there at once and only time is asynchronous, attention is not fused, random
numbers are the CPU generator's, and the order of accumulation is the CPU's where no switch says
otherwise. With torch 2.9 there is
no autograd on the device (see _backend.py).
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from ._switches import SWITCHES

if SWITCHES.stdout:
    print("Warning: ASCEND_HOME_PATH environment variable is not set.")
    os.write(1, b"[INFO] a C++ library says hello\n")
if SWITCHES.import_error is not None:
    if SWITCHES.import_error.startswith("Exception: "):
        raise Exception(SWITCHES.import_error.removeprefix("Exception: "))
    raise ImportError(SWITCHES.import_error)

import torch

from . import npu
from ._backend import register

__all__ = ["SIMULATED", "__version__", "npu", "npu_fusion_attention"]

SIMULATED = True
__version__ = torch.__version__.partition("+")[0] + "+simulated"


def npu_fusion_attention(*args: Any, **kwargs: Any) -> NoReturn:
    """Flash attention. transformers imports the name as soon as there is an NPU."""
    raise NotImplementedError("the simulated NPU has no npu_fusion_attention")


register(npu)
# As torch_npu/utils/collect_env.py does, whose word for a version it cannot find this is.
torch.version.cann = SWITCHES.cann or "not known"  # type: ignore[attr-defined]
