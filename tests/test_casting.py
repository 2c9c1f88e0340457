"""A cast to half precision: what is kept, what breaks, and that a FAIL says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Kit
from safetensors.torch import load_file, save_file
from torch import nn

from kit.models.families.torchvision_ops import declare_missing_ops
from kit.weights.casting import cast_weights


def test_what_became_infinite_or_zero_is_counted_by_tensor() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model[1].running_var[:2] = 1e5
    with torch.no_grad():
        model[0].weight[0] = 1e-9
        model[0].bias[0] = float("inf")  # was so before
        model[0].bias[1] = 0
    cast = cast_weights(model, torch.float16)
    assert cast.became_infinite == {"1.running_var": 2}
    assert cast.became_zero == {"0.weight": 3}
    assert cast.tensors == 6 and cast.dtype == "float16"
    assert cast_weights(model, torch.float16).tensors == 0
    assert cast_weights(model, torch.float32).became_zero == {}


def test_shared_parameters_stay_shared_and_are_counted_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert cast_weights(model, torch.bfloat16).tensors == 1
    assert model[1].weight is model[0].weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_transformers_keeps_in_float32_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    """The dtypes that from_pretrained() gives, and values that no cast has touched."""
    declare_missing_ops()
    from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

    t5 = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    llama = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    for cls, config in ((T5ForConditionalGeneration, t5), (LlamaForCausalLM, llama)):
        model = cls(config).eval()
        model.save_pretrained(tmp_path)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        cast = cast_weights(model, dtype)
        theirs = cls.from_pretrained(tmp_path, dtype=dtype)
        for name, tensor in [*theirs.named_parameters(), *theirs.named_buffers()]:
            ours = dict([*model.named_parameters(), *model.named_buffers()])[name]
            assert ours.dtype == tensor.dtype, name
            assert torch.equal(ours, tensor), name
            if name in before and name in cast.kept_float32:
                assert torch.equal(ours, before[name]), name
        assert any(name.endswith(("wo.weight", "inv_freq")) for name in cast.kept_float32) is (
            dtype == torch.float16 or cls is LlamaForCausalLM
        )


def test_a_failure_after_a_broken_cast_names_it(
    npu: Kit, tmp_path: Path, weights_of: Callable[[str], Path]
) -> None:
    tensors = load_file(weights_of(SMALL[1]))
    tensors["norm.weight"] = tensors["norm.weight"].clone()
    tensors["norm.weight"][5] = 1e5  # in the last norm: the features overflow where it does
    save_file(tensors, tmp_path / "model.safetensors")
    arguments = ("--weights", tmp_path / "model.safetensors", "--dtype", "float16")
    result = npu.infer(*SMALL, *arguments)
    assert result.code == 0, result.err
    assert "cast to float16: 1 elements became infinite in norm.weight" in result.err
    cast = npu.record["weights"]["cast"]
    assert cast["became_infinite"] == {"norm.weight": 1}
    assert npu.record["weights"]["contents"]["dtypes"] == {"float32": 32}
    npu.compare()
    [blocker] = [line for line in npu.summary["submission_blockers"] if "verdict" in line]
    assert (
        "a likely cause: the cast to float16 made elements infinite (1 of norm.weight)" in blocker
    )
    report = (npu.logs / "report.md").read_text()
    assert "norm.weight 中 1 个" in report  # among the reasons
    [line] = [line for line in report.splitlines() if "变为无穷的元素数" in line]
    assert "norm.weight" in line
