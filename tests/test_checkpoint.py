"""From a file to a model: the fingerprint is of what the model computes with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kit.models.known import load_adapter
from kit.storage.fingerprint import fingerprint, fingerprint_of_files
from kit.weights.checkpoint import assign, published_tensors
from kit.weights.load import load_weights


def test_fingerprint_of_a_file_is_that_of_its_tensors(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(1000, 700),
        "scalar": torch.tensor(3.5),
        "half": torch.randn(33).half(),
        "bfloat": torch.randn(2, 3, 5).bfloat16(),
        "count": torch.tensor([7]),
        "empty": torch.empty(0, 4),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    path = tmp_path / "x.safetensors"
    assert fingerprint_of_files(load_file(path), {name: (path, name) for name in tensors}) == (
        fingerprint(tensors)
    )
    # Under other names, and some of them only in memory.
    renamed = {f"new.{name}": tensor for name, tensor in tensors.items()}
    places = {f"new.{name}": (path, name) for name in list(tensors)[:3]}
    assert fingerprint_of_files(renamed, places) == fingerprint(renamed)


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype"])
def test_fingerprint_sees_every_change(change: str) -> None:
    tensors = {"a": torch.ones(4, 6), "b": torch.zeros(3)}
    changed = dict(tensors)
    if change == "value":
        changed["a"] = tensors["a"].clone()
        changed["a"][3, 5] = 1.0000001
    elif change == "name":
        changed = {"a": tensors["a"], "c": tensors["b"]}
    elif change == "shape":
        changed["a"] = tensors["a"].reshape(6, 4)
    else:
        changed["b"] = torch.zeros(3, dtype=torch.int32)
    assert fingerprint(tensors) != fingerprint(changed)


def test_the_model_computes_with_the_bytes_of_the_file(weights_of: Callable[[str], Path]) -> None:
    adapter = load_adapter("flan_t5_small")
    path = weights_of("flan_t5_small")
    model = adapter.build()
    loaded = load_weights(adapter, model, [path], seed=0)
    assert fingerprint(published_tensors(model, adapter.tied)) == loaded.fingerprint
    assert fingerprint(load_file(path)) == loaded.fingerprint
    assert model.get_parameter("lm_head.weight").data_ptr() != (
        model.get_parameter("shared.weight").data_ptr()
    )
    assert model.get_parameter("encoder.embed_tokens.weight") is model.get_parameter(
        "shared.weight"
    )


def test_a_model_with_another_tensor_than_the_loaded_one_is_refused() -> None:
    class Copies(torch.nn.Linear):
        def load_state_dict(self, *arguments: object, **options: object) -> None:  # type: ignore[override]
            super().load_state_dict(*arguments, **options)  # type: ignore[arg-type]
            self.weight = torch.nn.Parameter(self.weight.clone())

    with pytest.raises(RuntimeError, match="weight of the model is not"):
        assign(Copies(2, 2), {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, {})
