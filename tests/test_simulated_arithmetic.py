"""The simulated NPU's switches for how a matrix unit computes, and the faults planted in its kernels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starting import kept_environment, start_python

SNIPPET = """
import math, torch, torch_npu
from torch.nn import functional as F
NPU = torch.device("npu:0")
torch.manual_seed(0)
torch.set_grad_enabled(False)
x, w = torch.randn(6, 20), torch.randn(20, 5)

def cut(x, bits):
    mantissa, exponent = torch.frexp(x.double())
    return torch.ldexp((mantissa * 2 ** (bits + 1)).trunc() / 2 ** (bits + 1), exponent).float()

def device(function, *tensors):
    return function(*(tensor.to(NPU) for tensor in tensors)).cpu()
"""


def run(snippet: str, **switches: str) -> None:
    path = str(Path(__file__).parent / "simulated_npu")
    environment = kept_environment() | {
        "PYTHONPATH": path,
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        **switches,
    }
    process = start_python("-c", SNIPPET + snippet, env=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert not re.search("npu|NPU|Traceback", out + err)


def test_bits_rounding_accumulation_blocks_and_subnormals() -> None:
    run(
        """
a, b = cut(x, 7), cut(w, 7)
blocks = [a[:, at:at + 8].double() @ b[at:at + 8].double() for at in (0, 8, 16)]
total = (blocks[0] + blocks[1] + blocks[2]).float()
assert device(torch.mm, x, w).equal(total)
bias = torch.randn(5)
assert torch.allclose(device(F.linear, x, w.t(), bias), total + bias)
image, kernel = x.t().reshape(1, 20, 6, 1), w.t().reshape(5, 20, 1, 1)
assert torch.allclose(device(F.conv2d, image, kernel, bias)[0, :, :, 0].t(), total + bias)
grouped = torch.randn(20, 1, 1, 1)
assert torch.allclose(device(lambda i, k: F.conv2d(i, k, groups=20), image, grouped),
    F.conv2d(cut(image, 7), cut(grouped, 7), groups=20))
big, one = torch.tensor([[2.0**40, 1.0, -(2.0**40)]]), torch.ones(3, 1)
assert device(torch.mm, big, one).item() == 1
tiny = torch.tensor([[2.0**-130]])
assert device(torch.mm, tiny, torch.tensor([[2.0**20]])).item() == 0
assert device(torch.mm, tiny * 2**60, torch.tensor([[2.0**-70]])).item() == 0
""",
        SIM_NPU_BITS="7",
        SIM_NPU_ROUNDING="zero",
        SIM_NPU_ACCUMULATION="fp64",
        SIM_NPU_BLOCK="8",
        SIM_NPU_SUBNORMALS="flush",
    )


def test_cells_of_recurrent_networks_and_whole_numbers_in_bins() -> None:
    """PyTorch's CPU has no kernel of those names: it composes the cells, and refuses whole numbers."""
    run(
        """
for kind in (torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.LSTM, torch.nn.GRU):
    cell = kind(20, 4)
    ours = cell(x)
    theirs = cell.to(NPU)(x.to(NPU))
    ours, theirs = (each[0] if isinstance(each, tuple) else each for each in (ours, theirs))
    assert torch.allclose(theirs.cpu(), ours, atol=1e-6), kind
experts = torch.tensor([0, 2, 2, 3, 1, 2], dtype=torch.int32)
assert torch.histc(experts.to(NPU), bins=4, min=0, max=3).tolist() == [1, 1, 3, 1]
"""
    )


def test_each_forward_has_the_planted_fault_in_the_same_call() -> None:
    run(
        """
norm = torch.nn.LayerNorm(20)
right, wrong = norm(x), F.layer_norm(x, (20,), norm.weight, norm.bias, 1e-4)
assert not torch.allclose(right, wrong, rtol=0, atol=1e-6)
norm.to(NPU)
for forward in range(2):
    calls = [norm(x.to(NPU)).cpu() for call in range(3)]
    torch.npu.synchronize()
    assert calls[0].equal(right) and calls[1].equal(wrong) and calls[2].equal(right)
""",
        SIM_NPU_PLANT="aten::native_layer_norm:2:eps",
    )


def test_the_kinds_of_faults() -> None:
    """All that can be planted, in one process: each changes what it says and nothing else."""
    run(
        """
from torch_npu._planted import CALLS, RESULTS
ops = torch.ops.aten
func, args, _ = CALLS["no_bias"](ops.addmm.default, [torch.ones(5), x, w], {})
assert func(*args).equal(x @ w)
func, args, _ = CALLS["relu"](ops.gelu.default, [x], {})
assert func(*args).equal(x.relu())
func, args, _ = CALLS["fp16"](ops.mm.default, [x, w], {})
assert func(*args).equal(x.half().float() @ w.half().float())
heads = torch.ones(3, 4, 5)
assert RESULTS["head"](heads).sum() == 40 and RESULTS["head"](heads[None]).sum() == 40
changed = {kind: int((change(x) != x).sum()) for kind, change in RESULTS.items()}
assert changed == {"head": 20, "row": 20, "neighbour": 20, "shift": 120, "tail": 6}, changed
"""
    )


def test_a_kind_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AssertionError, match="there is no kind 'typo'"):
        run("", SIM_NPU_PLANT="aten::addmm:1:typo")
