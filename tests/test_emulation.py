"""A forward under another arithmetic: the operands of every product, and only they, are rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from test_golden import built
from torch import Tensor, nn

from kit.arithmetic.behaviours import BEHAVIOURS, Behaviour
from kit.arithmetic.emulation import Emulator
from kit.arithmetic.rounding import BF16, Rounding

CONV, MATMUL = BEHAVIOURS["hf32_conv"], BEHAVIOURS["hf32_matmul"]
# Coarse, so that a rounding that is missing shows, and one that is twice does not matter.
BOTH = replace(BEHAVIOURS["bf16_operands"], name="coarse")
EXACT = 1e-6  # relative L2: fp32's own error in these short sums


def tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def under(
    compute: Callable[[], Tensor], *behaviours: Behaviour, model: nn.Module | None = None
) -> Tensor:
    with Emulator(model or nn.Identity()).running(behaviours):
        return compute()


def relative_l2(ours: Tensor, golden: Tensor) -> float:
    return float((ours.double() - golden.double()).norm() / golden.double().norm())


X, W, BIAS = tensor(6, 8), tensor(5, 8), tensor(5)
BATCH, OTHER, ADDED = tensor(3, 4, 8), tensor(3, 8, 5), tensor(3, 4, 5)
IMAGE, KERNEL, GROUPS = tensor(2, 4, 9, 9), tensor(6, 4, 3, 3), tensor(4, 1, 3, 3)
SIGNAL, TAPS = tensor(2, 4, 20), tensor(6, 4, 5)
PRODUCTS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "linear": lambda r: F.linear(r(X), r(W)),
    "linear with a bias": lambda r: F.linear(r(X), r(W), BIAS),
    "linear on three dimensions": lambda r: F.linear(r(BATCH), r(W), BIAS),
    "matmul": lambda r: r(BATCH) @ r(OTHER),
    "matmul by a matrix": lambda r: r(BATCH) @ r(W).t(),
    "matrix by vector": lambda r: r(X) @ r(W)[0],
    "vector by vector": lambda r: torch.dot(r(X)[0], r(W)[0]),
    "baddbmm": lambda r: torch.baddbmm(ADDED, r(BATCH), r(OTHER), beta=0.5, alpha=2),
    "addbmm": lambda r: torch.addbmm(ADDED[0], r(BATCH), r(OTHER)),
    "addmv": lambda r: torch.addmv(tensor(6), r(X), r(W)[0]),
    "einsum": lambda r: torch.einsum("bik,bkj->bij", r(BATCH), r(OTHER)),
    "bilinear einsum": lambda r: torch.einsum("bik,jk->bji", r(BATCH), r(W)),
    "in place": lambda r: ADDED.clone().baddbmm_(r(BATCH), r(OTHER)),
}
CONVOLUTIONS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "conv2d": lambda r: F.conv2d(r(IMAGE), r(KERNEL), tensor(6), padding=1),
    "strided": lambda r: F.conv2d(r(IMAGE), r(KERNEL), stride=2),
    "depthwise": lambda r: F.conv2d(r(IMAGE), r(GROUPS), groups=4),
    "conv1d, padding same": lambda r: F.conv1d(r(SIGNAL), r(TAPS), padding="same"),
    "transposed": lambda r: F.conv_transpose2d(r(IMAGE), r(KERNEL.transpose(0, 1))),
    "channels last": lambda r: F.conv2d(r(IMAGE.to(memory_format=torch.channels_last)), r(KERNEL)),
}


@pytest.mark.parametrize("name", [*PRODUCTS, *CONVOLUTIONS])
def test_both_operands_are_rounded_and_nothing_else(name: str) -> None:
    compute = {**PRODUCTS, **CONVOLUTIONS}[name]
    expected = compute(BF16)
    ours = under(lambda: compute(lambda operand: operand), BOTH)
    assert relative_l2(ours, expected) < EXACT < 1e-3 < relative_l2(ours, compute(lambda o: o))


@pytest.mark.parametrize("name", [*PRODUCTS, *CONVOLUTIONS])
def test_a_behaviour_is_about_its_own_operators(name: str) -> None:
    compute = {**PRODUCTS, **CONVOLUTIONS}[name]
    other = MATMUL if name in CONVOLUTIONS else CONV
    assert torch.equal(under(lambda: compute(lambda o: o), other), compute(lambda o: o))


def test_in_inference_mode_too() -> None:
    with torch.inference_mode():
        x, w = X.clone(), W.clone()
        ours = under(lambda: F.linear(x, w), BOTH)
    assert relative_l2(ours, F.linear(BF16(X), BF16(W))) < EXACT


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"attn_mask": "bool"}, {"scale": 0.25}]
)
def test_fused_attention_is_two_products_and_a_softmax(options: dict[str, Any]) -> None:
    q, k, v = (tensor(2, 3, 7, 16), tensor(2, 3, 7, 16) + 0.1, tensor(2, 3, 7, 16) - 0.1)
    if "attn_mask" in options:
        options = {"attn_mask": torch.rand(7, 7) > 0.4}
        options["attn_mask"].fill_diagonal_(True)
    exact = F.scaled_dot_product_attention(q, k, v, **options)
    unchanged = under(lambda: F.scaled_dot_product_attention(q, k, v, **options), CONV)
    assert torch.equal(unchanged, exact)

    scale = options.get("scale", 0.25)
    scores = BF16(q * scale**0.5) @ BF16(k * scale**0.5).mT
    if options.get("is_causal"):
        scores = scores.masked_fill(~torch.ones(7, 7).tril().bool(), -torch.inf)
    if "attn_mask" in options:
        scores = scores.masked_fill(~options["attn_mask"], -torch.inf)
    expected = BF16(scores.softmax(-1)) @ BF16(v)
    ours = under(lambda: F.scaled_dot_product_attention(q, k, v, **options), BOTH)
    assert relative_l2(ours, expected) < 1e-5 < 1e-4 < relative_l2(ours, exact)


def test_an_lstm_is_composed_of_products() -> None:
    lstm, x = nn.LSTM(8, 5, num_layers=2, bidirectional=True), tensor(7, 2, 8)
    exact = lstm(x)[0].detach()
    with Emulator(lstm).running([MATMUL]) as fired:
        ours = lstm(x)[0]
    assert fired["hf32_matmul"] >= 4 * (1 + 7)  # a product for the input, and one each step
    assert 1e-5 < relative_l2(ours, exact) < 1e-3
    assert torch.backends.mkldnn.enabled  # type: ignore[attr-defined]


def test_a_transformer_layer_without_its_fast_path() -> None:
    layer, x = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), tensor(2, 5, 16)
    with torch.no_grad():
        exact = layer(x)
    with Emulator(layer).running([MATMUL]) as fired:
        ours = layer(x)
    assert fired["hf32_matmul"] == 6  # in, out, two of the feed-forward part, two of attention
    assert 1e-5 < relative_l2(ours, exact) < 1e-2
    assert torch.backends.mha.get_fastpath_enabled()  # type: ignore[no-untyped-call]


def test_gelu_by_tanh_where_it_was_exact() -> None:
    gelu = BEHAVIOURS["gelu_tanh"]
    with Emulator(nn.Identity()).running([gelu]) as fired:
        assert torch.equal(F.gelu(X), F.gelu(X, approximate="tanh"))
        assert fired["gelu_tanh"] == 1
        F.gelu(X, approximate="tanh")
        assert fired["gelu_tanh"] == 1  # nothing to change here


@dataclass(frozen=True, kw_only=True)
class Counting(Rounding):
    """HF32 that keeps what it was asked to round."""

    seen: ClassVar[list[Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return super().__call__(x)


def test_weights_are_rounded_once_and_activations_each_time() -> None:
    linear = nn.Linear(8, 8)
    Counting.seen.clear()
    counted = replace(MATMUL, rounding=Counting(mantissa_bits=11))
    emulator = Emulator(linear)
    for _ in range(2):
        with emulator.running([counted]):
            first = linear(linear(X))
    weights = [
        x for x in Counting.seen if x.untyped_storage().data_ptr() == linear.weight.data_ptr()
    ]
    assert (len(weights), len(Counting.seen)) == (1, 5)
    with torch.no_grad():
        linear.weight.mul_(2)  # a weight that changed is another one
    with emulator.running([counted]):
        assert relative_l2(linear(linear(X)), first) > 0.1


def test_operands_past_fp16_are_counted() -> None:
    emulator = Emulator(nn.Identity())
    with emulator.running([BEHAVIOURS["fp16_operands"]]):
        product = torch.tensor([[70000.0, 1.0]]) @ torch.tensor([[1.0], [1.0]])
    assert (emulator.overflowed, float(product)) == (1, float("inf"))


def test_other_dtypes_are_left_alone() -> None:
    assert torch.equal(
        under(lambda: X.double() @ W.double().t(), BOTH), X.double() @ W.double().t()
    )
    assert torch.equal(under(lambda: X.half() @ W.half().t(), BOTH), X.half() @ W.half().t())


def test_whatever_happens_inside_everything_is_as_before() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        under(lambda: X @ X, BOTH)
    assert torch.backends.mkldnn.enabled  # type: ignore[attr-defined]
    assert torch.equal(X @ W.t(), F.linear(X, W))


@pytest.mark.parametrize(
    ("model", "fires"),
    [
        ("vit_tiny_patch16_224", {"hf32_conv": 1, "hf32_matmul": 73, "gelu_tanh": 12}),
        # Nine products a layer of the encoder, fifteen of the decoder, and the head.
        ("flan_t5_small", {"hf32_matmul": 8 * 9 + 8 * 15 + 1}),
    ],
)
def test_every_product_of_a_model(model: str, fires: dict[str, int]) -> None:
    adapter, module, inputs = built(model)
    module.float()
    emulator = Emulator(module)
    plain = adapter.forward(module, inputs)
    with emulator.running([]):
        untouched = adapter.forward(module, inputs)
    for name, output in untouched.items():
        assert torch.equal(output, plain[name])
    with emulator.running(
        [BEHAVIOURS[name] for name in ("hf32_conv", "hf32_matmul", "gelu_tanh")]
    ) as fired:
        adapter.forward(module, inputs)
    assert fired == fires
