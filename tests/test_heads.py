"""Outputs of heads that no file carried are found, and stand in no verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Kit
from safetensors.torch import save_file
from torch import nn

from kit.errors import UsageError
from kit.models.families.torchvision_ops import declare_missing_ops
from kit.run.heads import outputs_of_heads
from kit.weights.load import load_files

INPUTS = {"pixel_values": torch.rand(1, 3, 64, 64)}


class Classifier(SimpleNamespace):
    """What a family declares, for a timm model."""

    def forward(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        features = model.forward_head(
            model.forward_features(inputs["pixel_values"]), pre_logits=True
        )
        return {"features": features, "logits": model.get_classifier()(features)}

    def every_output(self, model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Any:
        return self.forward(model, inputs)

    def with_outputs(self, shapes: Mapping[str, Any]) -> Any:
        return self


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    declare_missing_ops()
    import timm

    torch.manual_seed(0)
    tensors = timm.create_model("resnet10t").state_dict()
    kept = {n: t for n, t in tensors.items() if not n.startswith("fc.") and "num_batches" not in n}
    path = tmp_path / "model.safetensors"
    save_file(kept, path)
    return path


def model() -> nn.Module:
    import timm

    built: nn.Module = timm.create_model("resnet10t").eval()
    return built


def test_the_outputs_of_a_random_head_are_found_and_the_head_is_as_before(headless: Path) -> None:
    built = model()
    loaded = load_files(built, [headless], {}, seed=3)
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    adapter: Any = Classifier(primary="features")
    assert outputs_of_heads(adapter, built, loaded.account, INPUTS, 3) == ["logits"]
    assert all(torch.equal(before[name], each) for name, each in built.state_dict().items())


def test_counts_of_batches_that_a_file_lacks_move_no_output(headless: Path) -> None:
    from safetensors.torch import load_file

    built = model()
    fc = {name: tensor for name, tensor in built.state_dict().items() if name.startswith("fc.")}
    save_file(load_file(headless) | fc, headless)
    loaded = load_files(built, [headless], {}, seed=0)
    assert loaded.account is not None and loaded.account.initialised
    adapter: Any = Classifier(primary="logits")
    assert outputs_of_heads(adapter, built, loaded.account, INPUTS, 0) == []


def test_a_primary_output_of_a_random_head_is_no_run(headless: Path) -> None:
    built = model()
    loaded = load_files(built, [headless], {}, seed=0)
    adapter: Any = Classifier(primary="logits")
    with pytest.raises(UsageError, match=r"no fc\.weight.*: logits, which every headline"):
        outputs_of_heads(adapter, built, loaded.account, INPUTS, 0)


@pytest.mark.parametrize("left_out", [["logits"], ["features"]])
def test_a_record_cannot_leave_an_output_out_by_its_word(vit_run: Kit, left_out: list[str]) -> None:
    path = vit_run.logs / "run.json"
    record = json.loads(path.read_text())
    record["weights"]["outputs_of_random_heads"] = left_out
    path.write_text(json.dumps(record))
    result = vit_run.compare()
    assert result.code == 4 and "left out of the verdict" in result.error
