"""A text step by step with the CPU's tokens: twelve faults of the cache and others are told at their step,
and HF32 alone is none."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, ROOT, SIMULATED_NPU, Kit
from small_transformers import save_small

from kit.accuracy.trace import Trace, follow
from kit.models.adapter import Adapter
from kit.models.derived import from_folder
from kit.models.families.replay import STEPS, TOKENS
from kit.weights.load import load_weights

Tensor = torch.Tensor
Change = Callable[[Tensor], Tensor]
# What the simulated NPU's switch SIM_NPU_CACHE plants: what happens to the keys, and what to the values.
FAULTS: dict[str, tuple[Change, Change]] = runpy.run_path(
    str(SIMULATED_NPU / "torch_npu" / "_caches.py")
)["KINDS"]
STEP = 3
PLAIN = ("--golden", "off", "--explain", "off")


class Side:
    """A small model with the kit's random weights, and its input with the CPU's own tokens."""

    def __init__(self, model_type: str, folder: Path) -> None:
        save_small(model_type, folder)
        self.adapter: Adapter = from_folder(folder)
        self.model = self.adapter.build()
        load_weights(self.adapter, self.model, [], seed=0)
        chosen = self.adapter.traced(self.model, self.adapter.load_input(None, {}))
        self.inputs: Mapping[str, Tensor] = chosen.tensors
        self.outputs = self.run()

    def run(self) -> dict[str, Tensor]:
        with torch.inference_mode():
            return self.adapter.further_outputs(self.model, self.inputs)

    def followed(self) -> Trace:
        """The trace of a run now against the first."""
        trace = follow(self.outputs, self.run())
        assert trace is not None
        return trace


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return Side("llama", tmp_path_factory.mktemp("llama") / "saved")


@pytest.fixture(scope="module")
def configured(llama: Side, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's config alone: its weights are the kit's random ones."""
    folder = tmp_path_factory.mktemp("configured")
    (folder / "config.json").write_bytes(llama.adapter.files["config.json"])
    return folder


@contextmanager
def cache_with(fault: tuple[Change, Change], at: int) -> Iterator[None]:
    """Every layer keeps keys and values that `fault` has changed at step `at` of a cached run."""
    from transformers.cache_utils import DynamicLayer

    own = DynamicLayer.update

    def update(self: Any, *given: Any, **named: Any) -> Any:
        self.step = self.__dict__.setdefault("step", -1) + 1
        own(self, *given, **named)
        if self.step == at:
            self.keys, self.values = fault[0](self.keys), fault[1](self.values)
        return self.keys, self.values

    DynamicLayer.update = update  # type: ignore[method-assign]
    try:
        yield
    finally:
        DynamicLayer.update = own  # type: ignore[method-assign]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_cache_is_told_at_its_step(name: str, llama: Side) -> None:
    with cache_with(FAULTS[name], STEP):
        trace = llama.followed()
    assert (trace.first_bad, trace.fault) == (STEP, "cache")
    assert [each.good for each in trace.steps[:STEP]] == [True] * STEP
    assert [each.phase for each in trace.steps] == ["prefill"] + ["decode"] * (STEPS - 1)


SAMPLE = ("stale",)


@pytest.mark.parametrize(
    "kind",
    [each if each in SAMPLE else pytest.param(each, marks=pytest.mark.full) for each in FAULTS],
)
def test_both_scripts_tell_a_wrong_cache_of_the_device(
    kind: str, npu: Kit, configured: Path
) -> None:
    result = npu.infer("--model", configured, *QUICK, SIM_NPU_CACHE=f"{STEP}:{kind}")
    assert result.code == 0, result.err
    result = npu.compare(*PLAIN)
    assert (result.code, npu.summary["verdict"]) == (1, "FAIL"), result.err
    trace = npu.summary["trace"]
    assert (trace["first_bad"], trace["fault"]) == (STEP, "cache")
    assert f"the first bad one is step {STEP} of {STEPS} (cache)" in result.out


def test_a_wrong_cache_of_a_decoder_with_an_encoder(npu: Kit) -> None:
    small_t5 = ROOT / "tests" / "small_t5"
    result = npu.infer("--model", small_t5, *QUICK, SIM_NPU_CACHE=f"{STEP}:lost")
    assert result.code == 0, result.err
    assert npu.compare(*PLAIN).code == 1
    trace = npu.summary["trace"]
    assert (trace["first_bad"], trace["fault"]) == (STEP, "cache")


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "limit"), [(("--precision", "fast"), 0.01), (("--dtype", "bfloat16"), 0.0625)]
)
def test_arithmetic_alone_is_no_fault_of_the_cache(
    options: tuple[str, ...], limit: float, npu: Kit, configured: Path
) -> None:
    """HF32 in all products; everything in bf16."""
    result = npu.infer("--model", configured, *QUICK, *options)
    assert result.code == 0, result.err
    npu.compare(*PLAIN)
    trace = npu.summary["trace"]
    assert (trace["first_bad"], trace["fault"], trace["limit"]) == (None, None, limit)
    worst = max(step["relative_l2"] for step in trace["steps"])
    assert (1e-5 < worst < 0.005) if limit == 0.01 else (0.01 < worst < limit)


def test_a_position_off_by_one_from_a_step_on(llama: Side) -> None:
    own, calls = llama.model.model.rotary_emb.forward, 0  # type: ignore[union-attr, operator]

    def late(hidden: Tensor, position_ids: Tensor) -> Any:
        nonlocal calls
        calls += 1
        return own(hidden, position_ids + (1 if 4 < calls <= STEPS else 0))

    llama.model.model.rotary_emb.forward = late  # type: ignore[union-attr, method-assign]
    try:
        trace = llama.followed()
    finally:
        del llama.model.model.rotary_emb.forward  # type: ignore[union-attr]
    assert (trace.first_bad, trace.fault) == (4, "cache")


def test_a_fault_of_the_prefill_and_one_of_every_later_step(llama: Side) -> None:
    head = llama.model.get_submodule("lm_head")

    def scaled(first: int) -> Callable[..., Tensor]:
        calls = 0

        def change(module: Any, given: Any, result: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            step = (calls - 1) % STEPS
            return result.roll(1, dims=-1) if step >= first else result

        return change

    for first, fault in ((0, "prefill"), (2, "decode")):
        hook = head.register_forward_hook(scaled(first))
        try:
            trace = llama.followed()
        finally:
            hook.remove()
        assert (trace.first_bad, trace.fault) == (first, fault)
        assert trace.steps[first].rank > 1


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "t5"])
def test_hf32_alone_is_no_fault(model_type: str, tmp_path: Path) -> None:
    """Both operands of every matrix product rounded to HF32's 11 bits."""
    side = Side(model_type, tmp_path / "saved")
    assert side.inputs[TOKENS].shape == (2, STEPS)
    with hf32_products():
        trace = side.followed()
    errors = [step.relative_l2 for step in trace.steps]
    assert all(error is not None and 1e-6 < error < 1e-2 for error in errors)
    assert (trace.first_bad, trace.fault) == (None, None)


@contextmanager
def hf32_products() -> Iterator[None]:
    from torch.overrides import TorchFunctionMode

    products = {"linear", "matmul", "bmm", "addmm", "scaled_dot_product_attention", "__matmul__"}

    def rounded(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        bits = value.view(torch.int32)
        return ((bits + (1 << 11)) & ~((1 << 12) - 1)).view(torch.float32)

    class Rounded(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__name__", "") in products:
                args = tuple(map(rounded, args))
            return func(*args, **(kwargs or {}))

    with Rounded():
        yield


def test_a_device_that_gives_nan_or_another_shape() -> None:
    logits = torch.randn(2, STEPS, 50)
    names = ("trace_logits", "trace_logits_uncached")
    good = dict.fromkeys(names, logits)
    broken = logits.clone()
    broken[1, 5, 7] = torch.nan
    trace = follow(good, good | {names[0]: broken})
    assert trace is not None and (trace.first_bad, trace.fault) == (5, "cache")
    assert trace.steps[5].divergence is None and trace.steps[5].relative_l2 is None
    assert follow(good, good | {names[1]: logits[:, :4]}) is None
    assert follow(good, {names[0]: logits}) is None
    assert follow({}, {}) is None


def test_a_close_call_of_the_reference_excuses_another_token() -> None:
    torch.manual_seed(0)
    reference = torch.randn(2, STEPS, 200)
    reference[0, 2, 11], reference[0, 2, 12] = 6.0, 6.0 - 1e-4
    device = reference + 1e-3 * torch.randn_like(reference)
    device[0, 2, 11], device[0, 2, 12] = 5.9995, 6.0
    names = ("trace_logits", "trace_logits_uncached")
    trace = follow(dict.fromkeys(names, reference), dict.fromkeys(names, device))
    assert trace is not None and trace.first_bad is None and trace.steps[2].rank == 2
    reference[0, 2, 12] = 5.5  # now the reference is sure, and the device's own tie is no excuse
    trace = follow(dict.fromkeys(names, reference), dict.fromkeys(names, device))
    assert trace is not None and (trace.first_bad, trace.fault) == (2, "decode")
