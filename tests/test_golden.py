"""The fp64 reference is fp64: in every operator, against numpy, and whatever a model casts to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kit.arithmetic.fp64 import float64_only, golden_skipped, run_golden
from kit.errors import CannotRunError
from kit.machine.memory import available_bytes
from kit.models.adapter import Adapter, ModelInput
from kit.models.declaration import ModelInfo
from kit.models.derived import from_folder
from kit.models.known import known_adapter, model_names
from kit.run.reference import run_references
from kit.weights.load import load_weights

GIB = 1 << 30
T5, VIT = "flan_t5_small", "vit_tiny_patch16_224"
SMALL_T5 = str(Path(__file__).with_name("small_t5"))  # its config, with 2 layers and narrow ones
OUTSIDE = torch.zeros(4, 5)
FP64_ERROR = 1e-12  # relative L2, above fp64's rounding in two orders of the sums; fp32's is 1e-7


def built(name: str) -> tuple[Adapter, nn.Module, dict[str, Tensor]]:
    adapter = known_adapter(name) or from_folder(Path(name))
    model = adapter.build()
    load_weights(adapter, model, (), seed=0)
    return adapter, model, dict(adapter.load_input(None, {}).tensors)


@cache
def golden_of(name: str) -> dict[str, Tensor]:
    return run_golden(*built(name))


def relative_l2(ours: Tensor, golden: Tensor | NDArray[np.float64]) -> float:
    golden = torch.as_tensor(golden)
    return float((ours.double() - golden).norm() / golden.norm())


class FloatsSeen(TorchDispatchMode):
    """The floating dtypes of everything that goes into and comes out of ATen operators.

    Entered around the code under test, it sees what that code passes on. Composite operators are
    taken apart, so that a cast inside one is seen too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[torch.dtype, set[str]] = {}
        self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
            self.operators += 1
        for value in torch.utils._pytree.tree_leaves((args, kwargs, result)):
            dtype = value.dtype if isinstance(value, Tensor) else value
            if isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex):
                self.seen.setdefault(dtype, set()).add(str(func))
        return result


# The others have many more weights, and T5 generates: long enough to be left to .ci/full.
QUICK_MODELS = [
    pytest.param(name, marks=() if name == VIT else pytest.mark.full) for name in model_names()
]


@pytest.mark.parametrize("name", QUICK_MODELS)
def test_every_operator_of_every_output_is_fp64(name: str) -> None:
    adapter, model, inputs = built(name)
    # Converted beforehand: the conversion itself is the one cast from fp32 there is.
    model.double()
    wide = {key: t.double() if t.is_floating_point() else t for key, t in inputs.items()}
    with FloatsSeen() as floats:
        outputs = run_golden(adapter, model, wide)
    assert floats.operators > 200
    assert set(floats.seen) == {torch.float64}, floats.seen
    assert outputs.keys() == adapter.outputs.keys()


@pytest.mark.full
def test_the_instrument_sees_what_double_alone_leaves() -> None:
    adapter, model, inputs = built(T5)
    model.double()
    with torch.inference_mode(), FloatsSeen() as floats:
        adapter.forward(model, inputs)
    assert set(floats.seen) == {torch.float64, torch.float32}


@pytest.mark.parametrize("name", QUICK_MODELS)
def test_outputs_are_float64_and_near_the_fp32_ones(name: str) -> None:
    adapter, model, inputs = built(name)
    reference = run_references(adapter, model, inputs, "off").outputs
    for output, golden in golden_of(name).items():
        if adapter.outputs[output].role == "token_ids":
            assert golden.dtype == torch.int64
        else:
            assert golden.dtype == torch.float64
            # Not equal: fp32 has an error. Steps of generate() that chose other tokens do not compare.
            if adapter.outputs[output].role != "step_scores":
                assert 1e-8 < relative_l2(reference[output], golden) < 1e-3


@pytest.mark.full
def test_generated_ids_are_those_of_the_fp64_scores() -> None:
    golden = golden_of(T5)
    assert (
        golden["generated_ids"][0, 1:].tolist() == golden["generated_scores"][0].argmax(1).tolist()
    )


@pytest.mark.parametrize(
    "name", [SMALL_T5, pytest.param(T5, marks=pytest.mark.full)], ids=["small", T5]
)
def test_t5_encoder_is_numpys_and_double_alone_is_not(name: str) -> None:
    adapter, model, inputs = built(name)
    expected = t5_encoder(weights_of(model), inputs["input_ids"][0].tolist())
    assert relative_l2(golden_of(name)["encoder_last_hidden_state"][0], expected) < FP64_ERROR

    model.double()
    with torch.inference_mode():
        naive = adapter.forward(model, inputs)["encoder_last_hidden_state"][0]
    assert naive.dtype == torch.float64
    assert relative_l2(naive, expected) > 1e-7


def test_vit_is_numpys() -> None:
    """Fused attention, GELU and LayerNorm are the library's fp64 kernels: they must be fp64 inside."""
    _, model, inputs = built(VIT)
    features, logits = vit(weights_of(model), inputs["pixel_values"][0].double().numpy())
    golden = golden_of(VIT)
    assert relative_l2(golden["features"][0], features) < FP64_ERROR
    assert relative_l2(golden["logits"][0], logits) < FP64_ERROR


def weights_of(model: nn.Module) -> dict[str, NDArray[np.float64]]:
    return {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def t5_encoder(weights: Mapping[str, NDArray[np.float64]], ids: list[int]) -> NDArray[np.float64]:
    """flan-t5-small's encoder [tokens, width], from the paper (Raffel et al. 2020, arXiv:1910.10683) and
    T5 1.1's gated GELU in its tanh form; relative positions in 16 buckets a side, at most 15 apart."""
    count = len(ids)
    distance = np.arange(count)[None, :] - np.arange(count)[:, None]  # key - query
    far = 8 + np.floor(np.log(np.maximum(abs(distance), 8) / 8) / math.log(128 / 8) * 8)
    bucket = np.where(abs(distance) < 8, abs(distance), far).astype(int) + 16 * (distance > 0)
    table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    bias = weights[table][bucket].transpose(2, 0, 1)
    heads = len(bias)
    layers = sum(name.startswith("encoder.") and name.endswith(".q.weight") for name in weights)

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return weights[name] * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)

    x = weights["shared.weight"][ids]
    for number in range(layers):
        layer = f"encoder.block.{number}.layer"
        h = norm(x, f"{layer}.0.layer_norm.weight")
        q, k, v = (
            (h @ weights[f"{layer}.0.SelfAttention.{part}.weight"].T)
            .reshape(count, heads, -1)
            .transpose(1, 0, 2)
            for part in "qkv"
        )
        mixed = softmax(q @ k.transpose(0, 2, 1) + bias) @ v
        flat = mixed.transpose(1, 0, 2).reshape(count, -1)
        x = x + flat @ weights[f"{layer}.0.SelfAttention.o.weight"].T
        h = norm(x, f"{layer}.1.layer_norm.weight")
        gate = h @ weights[f"{layer}.1.DenseReluDense.wi_0.weight"].T
        gate = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
        gated = gate * (h @ weights[f"{layer}.1.DenseReluDense.wi_1.weight"].T)
        x = x + gated @ weights[f"{layer}.1.DenseReluDense.wo.weight"].T
    return norm(x, "encoder.final_layer_norm.weight")


def vit(
    weights: Mapping[str, NDArray[np.float64]], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ViT-tiny's features [192] and logits [1000] of pixels [3, 224, 224], from the paper (Dosovitskiy
    et al. 2021, arXiv:2010.11929): pre-norm blocks, 3 heads of 64, exact GELU."""
    erf = np.vectorize(math.erf, otypes=[np.float64])

    def linear(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    patches = pixels.reshape(3, 14, 16, 14, 16).transpose(1, 3, 0, 2, 4).reshape(196, -1)
    kernel = weights["patch_embed.proj.weight"].reshape(192, -1)
    x = patches @ kernel.T + weights["patch_embed.proj.bias"]
    x = np.concatenate([weights["cls_token"][0], x]) + weights["pos_embed"][0]
    for number in range(12):
        block = f"blocks.{number}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").reshape(197, 3, 3, 64)
        q, k, v = qkv.transpose(1, 2, 0, 3)
        mixed = softmax(q @ k.transpose(0, 2, 1) / 8) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(197, 192), f"{block}.attn.proj")
        h = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + linear(h * (1 + erf(h / math.sqrt(2))) / 2, f"{block}.mlp.fc2")
    features = norm(x, "norm")[0]
    return features, linear(features, "head")


def wide(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Every way to fp32 or less that a forward may take, and what it must be: x is float64 [4, 5].
CASTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "float": (lambda x: x.float(), lambda x: x),
    "half": (lambda x: x.half(), lambda x: x),
    "bfloat16": (lambda x: x.bfloat16(), lambda x: x),
    "to": (lambda x: x.to(torch.float32), lambda x: x),
    "to, by keyword": (lambda x: x.to(dtype=torch.float16, copy=True), lambda x: x),
    "to, with a device": (lambda x: x.to("cpu", torch.float32), lambda x: x),
    "to another's": (lambda x: x.to(torch.zeros(1, dtype=torch.float32)), lambda x: x),
    "type": (lambda x: x.type(torch.float), lambda x: x),
    "type, by name": (lambda x: x.type("torch.FloatTensor"), lambda x: x),
    "type_as": (lambda x: x.type_as(torch.zeros(1, dtype=torch.half)), lambda x: x),
    "there and back": (lambda x: x.half().to(torch.float64), lambda x: x),
    "an operator's own call": (
        lambda x: torch.ops.aten._to_copy(x, dtype=torch.float32),
        lambda x: x,
    ),
    "variance of T5LayerNorm": (
        lambda x: x.to(torch.float32).pow(2).mean(-1, keepdim=True),
        lambda x: x.pow(2).mean(-1, keepdim=True),
    ),
    "softmax": (
        lambda x: nn.functional.softmax(x, dim=-1, dtype=torch.float32),
        lambda x: x.softmax(-1),
    ),
    "log_softmax": (
        lambda x: x.log_softmax(-1, dtype=torch.float32),
        lambda x: x.log_softmax(-1),
    ),
    "sum": (lambda x: x.sum(0, dtype=torch.float32), lambda x: x.sum(0)),
    "a matrix product of halves": (lambda x: x.half() @ x.T.half(), lambda x: x @ x.T),
    "a mask": (
        lambda x: (x.float() + (x > 0) * torch.finfo(torch.float32).min).softmax(-1),
        lambda x: torch.where(x > 0, -math.inf, x).softmax(-1),
    ),
    "zeros": (lambda x: torch.zeros(2, dtype=torch.float32), lambda x: wide(0, 0)),
    "full": (lambda x: torch.full((2,), 0.1, dtype=torch.float32), lambda x: wide(0.1, 0.1)),
    "full, by default": (lambda x: torch.full((2,), 0.1), lambda x: wide(0.1, 0.1)),
    "arange": (lambda x: torch.arange(2, dtype=torch.float32) / 3, lambda x: wide(0, 1 / 3)),
    "tensor": (lambda x: torch.tensor([0.1], dtype=torch.float32), lambda x: wide(0.1)),
    "tensor, by default": (lambda x: torch.tensor([0.1]), lambda x: wide(0.1)),
    "new_tensor": (lambda x: x.new_tensor([0.1], dtype=torch.bfloat16), lambda x: wide(0.1)),
    "filled": (lambda x: torch.empty(1, dtype=torch.half).fill_(0.1), lambda x: wide(0.1)),
    "legacy constructor": (lambda x: torch.FloatTensor([1, 2]) / 3, lambda x: wide(1 / 3, 2 / 3)),
    "numpy": (lambda x: torch.from_numpy(np.float32([1, 2])) / 3, lambda x: wide(1 / 3, 2 / 3)),
    "complex": (
        lambda x: torch.polar(torch.ones_like(x, dtype=torch.float32), x.float()).imag,
        lambda x: x.sin(),
    ),
    "complex, cast": (lambda x: (x * 1j).to(torch.complex64).imag, lambda x: x),
}


class Casting(nn.Module):
    """Its forward takes every one of those ways; `hidden` is a tensor that no conversion reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / 3))
        self.hidden = [torch.tensor([1 / 3])]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"scaled": x * self.scale, "hidden": x @ self.hidden[0].expand(5, 1)} | {
            name: form(x) for name, (form, _) in CASTS.items()
        }


class PlantedAdapter(Adapter):
    """An adapter of any module that takes x."""

    def __init__(self) -> None:
        words = "name hub_id revision vendor task pipeline_tag library license architecture".split()
        super().__init__(ModelInfo(**dict.fromkeys(words, "planted")), {})

    def check_input(self, value: str | None) -> None:
        raise NotImplementedError

    def build(self) -> nn.Module:
        raise NotImplementedError

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        raise NotImplementedError

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = model(inputs["x"])
        return outputs


def planted_input() -> Tensor:
    """float32 [4, 5], with both signs in every row."""
    values = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    return values - values.mean(-1, keepdim=True)


def test_every_way_to_fp32_gives_fp64() -> None:
    outputs = run_golden(PlantedAdapter(), Casting(), {"x": planted_input()})
    x = planted_input().double()
    third = torch.tensor(1 / 3).double()  # the fp32 weight
    expected = {name: exact(x) for name, (_, exact) in CASTS.items()}
    expected |= {"scaled": x * third, "hidden": x @ third.expand(5, 1)}
    assert outputs.keys() == expected.keys()
    for name, tensor in outputs.items():
        assert tensor.dtype == torch.float64, name
        assert torch.allclose(tensor, expected[name], rtol=1e-14, atol=1e-15), name


@pytest.mark.parametrize("name", CASTS)
def test_each_of_them_loses_something_otherwise(name: str) -> None:
    form, exact = CASTS[name]
    x = planted_input().double() / 3
    assert form(x).dtype != torch.float64 or not torch.equal(form(x), exact(x))


def test_a_cast_in_torchscript_is_seen_too() -> None:
    cast = torch.jit.CompilationUnit("def cast(x):\n    return x.half().float() * 2\n").cast
    x = planted_input().double() / 3
    with float64_only():
        assert torch.equal(cast(x), x * 2)


def test_a_cast_to_half_stays_a_copy() -> None:
    x = planted_input().double()
    kept = x.clone()
    with float64_only():
        x.half().add_(1)
    assert torch.equal(x, kept)


def test_everything_is_as_before_even_after_an_error() -> None:
    for default in (torch.float32, torch.float16):
        torch.set_default_dtype(default)
        try:
            with pytest.raises(ZeroDivisionError), float64_only():
                assert torch.ones(1).dtype == torch.float64
                raise ZeroDivisionError
            assert torch.get_default_dtype() == torch.ones(1).dtype == default
        finally:
            torch.set_default_dtype(torch.float32)
    assert torch.ones(1).double().float().dtype == torch.float32
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (lambda x: torch.nn.functional.relu_(OUTSIDE) + x, "writes into a torch.float32 tensor"),
        (lambda x: torch.add(x, x, out=OUTSIDE), "writes into a torch.float32 tensor"),
        (lambda x: x.view(torch.int32), "reinterpretation of bits"),
        (lambda x: x @ x, "shapes cannot be multiplied"),
    ],
)
def test_what_has_no_fp64_form_is_an_error(form: Callable[[Tensor], Tensor], reason: str) -> None:
    class Planted(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"y": form(x)}

    with pytest.raises(CannotRunError, match=f"planted does not run in fp64 .*{reason}"):
        run_golden(PlantedAdapter(), Planted(), {"x": planted_input()})
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.full
def test_weights_are_converted_once_stay_tied_and_come_back() -> None:
    adapter, model, inputs = built(T5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run_golden(adapter, model, inputs)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert sum(parameter.numel() for parameter in model.parameters()) == adapter.info.parameters
    for alias, name in adapter.tied.items():
        assert model.get_parameter(alias) is model.get_parameter(name)
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    run_golden(adapter, model, inputs)
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
    model.float()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_longer_text_needs_more_memory() -> None:
    _, model, inputs = built(SMALL_T5)
    assert golden_skipped(model, inputs, available=GIB) is None
    assert "are free" in str(golden_skipped(model, inputs, available=GIB // 100))
    long = {"input_ids": torch.zeros(1, 4096, dtype=torch.int64)}
    assert golden_skipped(model, long, available=GIB)


@pytest.mark.full  # with the weights of a published model in memory
def test_golden_is_skipped_where_memory_would_not_hold_it() -> None:
    _, model, inputs = built(T5)
    reason = golden_skipped(model, inputs, available=GIB // 2)
    assert reason == "it needs 0.82 GiB (0.57 GiB of them fp64 weights), and 0.50 GiB are free"
    assert golden_skipped(model, inputs, available=GIB) is None
    # A long text takes attention over every pair of its tokens.
    long = {"input_ids": torch.zeros(1, 4096, dtype=torch.int64)}
    assert "it needs 8.82 GiB" in str(golden_skipped(model, long, available=GIB))


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"}, 2048 * 1024),
        # Version 2: the least of the group and those above it; page cache can be had back.
        (
            {
                "proc/meminfo": "MemAvailable: 2048 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "5\n",
                "sys/fs/cgroup/a/memory.max": "1000\n",
                "sys/fs/cgroup/a/memory.current": "900\n",
                "sys/fs/cgroup/a/memory.stat": "anon 600\ninactive_file 300\n",
            },
            400,
        ),
        # A container: the path is the host's, the mount is the container's own group.
        (
            {
                "proc/self/cgroup": "12:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "700\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "500\n",
                "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100\n",
            },
            300,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "100",
                "sys/fs/cgroup/memory.current": "101",
            },
            0,
        ),
    ],
)
def test_free_memory(tmp_path: Path, files: dict[str, str], free: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_bytes(tmp_path) == free


def test_free_memory_of_this_machine() -> None:
    free = available_bytes()
    assert free is None or 0 <= free < 1 << 50
