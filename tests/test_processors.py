"""A model's own processor files make its input: an image processor, and two feature extractors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_transformers import ask_again_what_is_installed, save_small

from kit.errors import CannotRunError
from kit.models.derived import from_folder
from kit.models.families.torchvision_ops import without_torchvision

PROCESSOR = "preprocessor_config.json"


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


@pytest.fixture(autouse=True)
def _ask_again() -> None:
    ask_again_what_is_installed()


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
