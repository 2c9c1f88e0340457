"""What `--model` may name by mistake: each mistake is told as what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.errors import KitError, UsageError
from kit.models.adapter import Adapter
from kit.models.derived import from_folder
from kit.models.families.tokenizer import read_tokenizer
from kit.weights.find_model import find_model
from kit.weights.local import check_explicit
from kit.weights.sharded import index_of

ELECTRA = "google/electra-small-discriminator"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
PAGE = b"<!DOCTYPE html><title>Sign in"


def refused(wanted: str) -> str:
    """The line that a name or a folder is refused with."""
    with pytest.raises(KitError) as raised:
        adapter = find_model(wanted, offline=True, mirrors=(), log=print)
        adapter.build()
        adapter.load_input(None, {})
    return raised.value.message


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (f"{ELECTRA}/", f"did you mean {ELECTRA}?"),
        (f"https://huggingface.co/{ELECTRA}", f"did you mean {ELECTRA}?"),
        (f"https://hf-mirror.com/{ELECTRA}/tree/main", f"did you mean {ELECTRA}?"),
        (f"modelscope.cn/models/{ELECTRA}", f"did you mean {ELECTRA}?"),
        (f"{ELECTRA}@main", f"did you mean {ELECTRA}?"),
        ("ResNet18", "did you mean resnet18?"),
        ("", "--model is empty"),
        (" ", "--model is empty"),
        ("./nowhere", "there is no such folder"),
        ("~/models/x", "there is no such folder"),
        ("nowhere/", "there is no such folder"),
        (str(Path(__file__)), "it is a file; give its folder"),
        (
            "facebook/deit-tiny-patch16-224",
            "is not to be had: hub: --offline is set; run once with a",
        ),
        ("google/flan-t5-base", "give a folder with its files as --model"),
    ],
)
def test_a_name_that_is_nearly_one(wanted: str, words: str) -> None:
    told = refused(wanted)
    assert words in told
    assert "vit_tiny_patch16_224?" not in told and "flan_t5_small?" not in told


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "has no config.json; give a folder that save_pretrained or timm wrote"),
        ({"adapter_config.json": b"{}"}, "but adapter_config.json, as of a PEFT adapter; merge it"),
        ({"model_index.json": b"{}"}, "but model_index.json, as of a diffusers pipeline"),
        ({"modules.json": b"[]"}, "as of the modules of sentence-transformers; give the folder of"),
        (
            {"config.json": POINTER},
            "config.json is a Git LFS pointer, not the file itself; run git",
        ),
        ({"config.json": PAGE}, "config.json is a web page (HTML); a page came in its place"),
        ({"config.json": b"[1]"}, "config.json is damaged (it is no JSON object); fetch it again"),
        ({"config.json": b'{"model_type": "el'}, "config.json is damaged (Unterminated"),
        ({"config.json": b'{"_class_name": "UNet2DModel"}'}, "of neither transformers nor timm"),
        ({"config.json": b'{"model_type": "../x"}'}, "has no model of the type '../x'"),
    ],
)
def test_a_folder_that_holds_no_model(
    files: Mapping[str, bytes], words: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert words in refused(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "resnet9999"}, "'resnet9999', which timm"),
        ({"num_classes": -5}, "num_classes is -5, no count"),
        ({"num_classes": "ten"}, "num_classes is 'ten', no count"),
        ({"num_classes": True}, "num_classes is True, no count"),
        ({"pretrained_cfg": [1]}, "pretrained_cfg is no JSON object"),
        ({"model_args": "depth=3"}, "model_args is no JSON object"),
        ({"model_args": {"depth": 3}}, "timm cannot build test_resnet of config.json"),
        (
            {"pretrained_cfg": {"input_size": [3, 0, 0]}},
            "by its pretrained_cfg (ValueError: height",
        ),
        ({"pretrained_cfg": {"interpolation": "cubicle"}}, "(KeyError: 'cubicle')"),
        ({"pretrained_cfg": {"mean": "grey"}}, "cannot preprocess an image by its pretrained_cfg"),
    ],
)
def test_a_timm_config_whose_values_are_none_of_timms(
    changes: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    config = {"architecture": "test_resnet", "num_classes": 10, **changes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert words in refused(str(tmp_path))


@pytest.mark.parametrize("form", ["nested", "flat", "absent"])
def test_a_timm_config_of_any_age_says_how_an_image_is_prepared(form: str, tmp_path: Path) -> None:
    """timm's first configs had it beside the architecture; where there is none, the registry's."""
    said = {"input_size": [3, 96, 96], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    own = {"nested": {"pretrained_cfg": said}, "flat": said, "absent": {}}[form]
    config = {"architecture": "test_resnet", "num_classes": 10, **own}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pixels = from_folder(tmp_path).load_input(None, {}).tensors["pixel_values"]
    assert pixels.shape == ((1, 3, 96, 96) if own else (1, 3, 160, 160))


@pytest.mark.parametrize(
    "name", ["model-Q4.gguf", "tf_model.h5", "model.onnx", "flax_model.msgpack"]
)
def test_a_folder_with_other_weights_alone_is_no_folder_without(name: str, electra: Path) -> None:
    """Random weights would be said of a model whose weights lie there."""
    (electra / name).write_bytes(
        {"gguf": b"GGUF\3\0\0\0", "h5": b"\x89HDF\r\n\x1a\n"}.get(name[-4:], b"\x08\x07\x12")
    )
    adapter = from_folder(electra)
    assert adapter.weights_at == electra
    with pytest.raises(UsageError) as raised:
        check_explicit(electra, adapter.info)
    assert f"but {name} (" in raised.value.message and "lies beside it" in raised.value.message


def test_a_variant_beside_is_named_as_the_one_to_give(electra: Path) -> None:
    """fp16 or not is a choice: it is not taken in silence."""
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, electra / "model.fp16.safetensors")
    info = from_folder(electra).info
    with pytest.raises(UsageError, match=r"name model\.fp16\.safetensors with --weights"):
        check_explicit(electra, info)
    assert check_explicit(electra / "model.fp16.safetensors", info).name == "model.fp16.safetensors"


@pytest.mark.parametrize(
    ("content", "words"), [(POINTER, "it is a Git LFS pointer"), (PAGE, "it is a web page (HTML)")]
)
def test_an_index_that_is_something_else(content: bytes, words: str, electra: Path) -> None:
    adapter: Adapter = from_folder(electra)
    (electra / index_of(adapter.info.weights)).write_bytes(content)
    with pytest.raises(UsageError, match="is no index of shards") as raised:
        check_explicit(electra, adapter.info)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "run git lfs pull where it was cloned"),
        (PAGE, "web page"),
        (b"", "is empty"),
        (b'{"a', "damaged"),
    ],
)
def test_a_tokenizer_that_is_something_else(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(KitError) as raised:
        read_tokenizer(tmp_path / "tokenizer.json")
    assert words in raised.value.message


@pytest.fixture
def electra(tmp_path: Path) -> Path:
    """A folder that has the config of a transformers model alone."""
    from small_transformers import small_config

    small_config("electra").save_pretrained(tmp_path)
    return tmp_path
