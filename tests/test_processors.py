"""A model's own processor files make its input: an image processor, and two feature extractors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Kit, ended
from small_transformers import save_small
from starting import start_python

from kit.errors import CannotRunError, KitError
from kit.models.derived import from_folder
from kit.models.families.torchvision_ops import without_torchvision

PROCESSOR = "preprocessor_config.json"
# As in a notebook that has used transformers for something else before.
USED_BEFORE = """
from kit.models.families.torchvision_ops import declare_missing_ops, without_torchvision
declarations = declare_missing_ops()
from transformers.utils import is_torchvision_available
is_torchvision_available()
import importlib, transformers.image_utils
with without_torchvision():
    importlib.reload(transformers.image_utils)
"""


def processor_of(kind: str, folder: Path) -> None:
    with without_torchvision():
        import transformers

        makers: dict[str, Any] = {
            "vit": lambda: transformers.ViTImageProcessor(
                size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.25] * 3
            ),
            "wav2vec2": lambda: transformers.Wav2Vec2FeatureExtractor(do_normalize=True),
            "whisper": lambda: transformers.WhisperFeatureExtractor(
                feature_size=16, chunk_length=1
            ),
        }
        makers[kind]().save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("vit", "pixel_values", (1, 3, 64, 64)),
        ("wav2vec2", "input_values", (1, 32_000)),
        ("whisper", "input_features", (1, 16, 100)),
    ],
)
def test_the_models_own_processor_makes_the_input(
    kind: str, name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / kind
    save_small(kind, folder)
    processor_of(kind, folder)
    adapter = from_folder(folder)
    assert PROCESSOR in adapter.info.companions
    own = adapter.load_input(None, {PROCESSOR: folder / PROCESSOR})
    bare = adapter.load_input(None, {})
    assert tuple(own.tensors[name].shape) == shape
    assert "is not at hand" in bare.description and PROCESSOR not in own.description
    if own.tensors[name].shape == bare.tensors[name].shape:
        assert not torch.equal(own.tensors[name], bare.tensors[name])
    if kind == "wav2vec2":  # do_normalize
        assert float(own.tensors[name].std()) == pytest.approx(1, abs=0.01)
    (folder / PROCESSOR).write_text("{")
    with pytest.raises(CannotRunError, match="fetch it again"):
        adapter.load_input(None, {PROCESSOR: folder / PROCESSOR})


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("vit", {"size": {"height": 0, "width": 64}}, "preprocessor_config.json cannot be used"),
        ("vit", {"size": {"height": 10**6, "width": 10**6}}, "beyond 64000000"),
        ("vit", {"size": {"shortest_edge": 10**6}}, "beyond 64000000"),
        ("vit", {"image_mean": "grey"}, "preprocessor_config.json cannot be used"),
        ("wav2vec2", {"sampling_rate": 0}, "sampling_rate is 0"),
        ("wav2vec2", {"sampling_rate": "16k"}, "sampling_rate is '16k'"),
        ("wav2vec2", {"sampling_rate": 10**12}, "no number of samples a second"),
    ],
)
def test_a_processor_of_no_use_is_named(
    kind: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save_small(kind, tmp_path)
    processor_of(kind, tmp_path)
    file = tmp_path / PROCESSOR
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes))
    with pytest.raises(KitError, match=re.escape(words)):
        from_folder(tmp_path).load_input(None, {PROCESSOR: file})


def test_a_model_of_grey_images_sees_a_grey_one(tmp_path: Path) -> None:
    save_small("vit", tmp_path)
    processor_of("vit", tmp_path)
    grey = {"image_mean": [0.5], "image_std": [0.5]}
    for name, changes in (("config.json", {"num_channels": 1}), (PROCESSOR, grey)):
        file = tmp_path / name
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes))
    adapter = from_folder(tmp_path)
    for companions in ({PROCESSOR: tmp_path / PROCESSOR}, {}):
        made = adapter.load_input(None, companions)
        assert made.tensors["pixel_values"].shape == (1, 1, 64, 64) and "grey" in made.description


def test_transformers_that_counts_on_torchvision_keeps_it(kit: Kit) -> None:
    environment = kit.environment(PYTHONPATH=str(ROOT))
    done = ended(start_python("-c", USED_BEFORE, env=environment))
    assert done.code == 0, done.err
