"""The kit's own random initialisation: the same bytes everywhere, and it hides no error."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Finished
from PIL import Image, ImageOps

from kit.models.adapter import Adapter
from kit.models.derived import from_timm_registry
from kit.models.known import load_adapter, model_names
from kit.storage.fingerprint import fingerprint
from kit.weights.batch_statistics import fit_statistics
from kit.weights.checkpoint import assign, published_tensors, retie
from kit.weights.load import load_weights
from kit.weights.random_init import random_state_dict

T5, LITE0 = "flan_t5_small", "tf_efficientnet_lite0"
# Made once with numpy 2.4.6 and torch 2.13.0; any other library version must give the same.
FINGERPRINTS = {
    T5: "188bf6462e035f61d62118968310d4ef3efbf5af71de56ce6c9ce0d47b72890c",
    LITE0: "4811d3a332f786a2a373d1264b290265710bbfd9042e780fdb90a069e5bd7d5b",
    "vit_tiny_patch16_224": "c8cedc5641c14f8742fbeb24a683d965922941d957c0efebd3bc58ab4b0b4401",
}


def built(name: str) -> tuple[Adapter, torch.nn.Module, dict[str, torch.Tensor]]:
    adapter = load_adapter(name)
    model = adapter.build()
    state_dict = random_state_dict(published_tensors(model, adapter.tied), 0)
    assign(model, state_dict, adapter.tied)
    return adapter, model, state_dict


@pytest.mark.full  # what was loaded is counted in every run, and the record's check compares
@pytest.mark.parametrize("name", model_names())
def test_counts_are_the_published_ones(name: str) -> None:
    adapter, model, state_dict = built(name)
    assert sum(tensor.numel() for tensor in state_dict.values()) == adapter.info.parameters
    assert len(state_dict) == adapter.info.tensors
    aliases = len(model.state_dict()) - len(state_dict)
    assert aliases == len(adapter.tied)


def test_t5_has_the_same_bytes(finished: Finished) -> None:
    assert finished(T5, compared=False).record["weights"]["fingerprint"] == FINGERPRINTS[T5]


@pytest.mark.parametrize("name", [name for name in FINGERPRINTS if name not in (LITE0, T5)])
def test_bytes_are_the_same_on_every_library_version(name: str) -> None:
    assert fingerprint(built(name)[2]) == FINGERPRINTS[name]


@pytest.mark.full  # a forward or three for each of 152 and of 190 tensors
@pytest.mark.parametrize("name", model_names())
def test_every_parameter_tensor_matters(name: str) -> None:
    """Noise of 1% of a tensor's own standard deviation moves some output by 5e-6 relative L2: the
    least is the bias of a last query, which only shifts what a softmax weighs; rounding is 1e-7."""
    adapter, model, state_dict = built(name)
    inputs = adapter.load_input(None, {}).tensors
    generator = torch.Generator().manual_seed(0)
    weak = {}
    with torch.inference_mode():
        reference = judged(adapter, model, inputs)
        for key, tensor in state_dict.items():
            if not tensor.is_floating_point():
                continue  # counters: nothing is computed with them
            if key.endswith(".key.bias"):
                continue  # the same number for every key of a query: the softmax cancels it
            kept = tensor.clone()
            spread = 0.01 * float(kept.std()) if kept.numel() > 1 else 0.0
            tensor.add_(torch.randn(kept.shape, generator=generator) * (spread or 0.001))
            moved = max(
                float((after - reference[output]).norm() / reference[output].norm())
                for output, after in judged(adapter, model, inputs).items()
            )
            tensor.copy_(kept)
            if moved < 5e-6:
                weak[key] = moved
    assert not weak


def judged(
    adapter: Adapter, model: torch.nn.Module, inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    outputs = adapter.forward(model, inputs)
    if "teacher_input_ids" in inputs:
        teacher = model(
            input_ids=inputs["input_ids"],
            decoder_input_ids=inputs["teacher_input_ids"],
            use_cache=False,
        )
        outputs["logits_teacher_forced"] = teacher.logits
    return outputs


def test_values_follow_from_seed_and_name_by_the_written_rule() -> None:
    """An independent reading of the docstring: Philox words, 24 bits of each half, low half first."""
    import hashlib

    [tensor] = random_state_dict({"layer.weight": torch.empty(3, 5, device="meta")}, 11).values()
    key = hashlib.sha256(b"11/layer.weight").digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(8)
    halves: Iterable[int] = [
        half for word in words for half in struct.unpack("<2I", struct.pack("<Q", int(word)))
    ]
    bound = np.float32((3.0 / 5) ** 0.5)
    expected = [np.float32((half >> 8) / 2**23 - 1) * bound for half in halves][:15]
    assert tensor.flatten().tolist() == [float(value) for value in expected]


def test_scales() -> None:
    like = {
        "head.weight": torch.empty(1000, 192, device="meta"),
        "norm.weight": torch.empty(4096, device="meta"),
        "norm.bias": torch.empty(4096, device="meta"),
        "block.gamma": torch.empty(4096, device="meta"),
        "pos_embed": torch.empty(1, 197, 192, device="meta"),
        "bn.running_var": torch.empty(64, device="meta"),
        "bn.running_mean": torch.empty(64, device="meta"),
        "bn.num_batches_tracked": torch.empty((), dtype=torch.int64, device="meta"),
    }
    made = random_state_dict(like, 0)
    assert float(made["head.weight"].var()) == pytest.approx(1 / 192, rel=0.02)
    assert float(made["pos_embed"].var()) == pytest.approx(1 / 192, rel=0.03)
    for name in ("norm.weight", "block.gamma", "bn.running_var"):
        assert float(made[name].min()) >= 0.9 and float(made[name].max()) <= 1.1
        assert float(made[name].std()) > 0.05
    for name in ("norm.bias", "bn.running_mean"):
        assert float(made[name].abs().max()) <= 0.1 and float(made[name].std()) > 0.05
    assert int(made["bn.num_batches_tracked"]) == 0


def test_retie_makes_aliases_one_tensor_again() -> None:
    adapter, model, _ = built(T5)
    for alias in adapter.tied:
        module = model.get_submodule(alias.rpartition(".")[0])
        module.weight = torch.nn.Parameter(module.weight.clone())
    retie(model, adapter.tied)
    assert sum(parameter.numel() for parameter in model.parameters()) == adapter.info.parameters


# ---- contrast: what an image is can be seen in what comes out ------------------------------------

# With trained weights two photographs differ by 128% in EfficientNet-lite0's features.
LEAST_CONTRAST = 0.128
ARCHITECTURES = (
    *(
        LITE0,
        "mobilenetv3_small_100",
        "efficientnet_b0",
        "rexnet_100",
        "ghostnet_100",
        "levit_128s",
    ),
    *("inception_v3", "densenet121", "mobilevitv2_050", "vgg11_bn", "regnety_002", "convnext_atto"),
)


def initialised(name: str) -> tuple[Adapter, torch.nn.Module, str]:
    """A model of timm's with the kit's random weights, and their fingerprint."""
    adapter = from_timm_registry(name)
    assert adapter is not None
    model = adapter.build()
    return adapter, model, load_weights(adapter, model, [], seed=0).fingerprint


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=() if each in ARCHITECTURES[:2] else pytest.mark.full)
        for each in ARCHITECTURES
    ],
)
def test_two_images_differ_in_the_features(name: str, tmp_path: Path) -> None:
    """The kit's photograph, and its negative on its side."""
    other = tmp_path / "negative.png"
    with Image.open(ROOT / "kit" / "models" / "samples" / "photo.png") as photo:
        ImageOps.invert(photo.convert("RGB")).rotate(90, expand=True).save(other)
    adapter, model, _ = initialised(name)
    with torch.inference_mode():
        one, two = (
            adapter.forward(model, adapter.load_input(photo, {}).tensors)["features"]
            for photo in (None, str(other))
        )
    assert LEAST_CONTRAST < float((one - two).norm() / two.norm()) < 100
    assert 0.01 < float(one.pow(2).mean().sqrt()) < 100


def test_statistics_fit_what_the_layers_are_given() -> None:
    adapter, model, identity = initialised(LITE0)
    assert identity == FINGERPRINTS[LITE0]
    ratios = {}
    for name, module in model.named_modules():
        if hasattr(module, "running_var"):
            module.register_forward_pre_hook(
                lambda layer, given, name=name: ratios.update(
                    {name: float((given[0].pow(2).mean() / layer.running_var.mean()).sqrt())}
                )
            )
    with torch.inference_mode():
        adapter.forward(model, adapter.load_input(None, {}).tensors)
    assert len(ratios) == 49
    assert min(ratios.values()) > 0.3 and max(ratios.values()) < 3


def test_rounding_does_not_reach_the_scale() -> None:
    """What another version may do to the last bits of fp64 changes no byte; what fp32 would, neither."""
    adapter, _, identity = initialised(LITE0)
    own = adapter.forward

    def shaken(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(inputs["pixel_values"].shape, generator=generator, dtype=torch.float64)
        return own(model, {"pixel_values": inputs["pixel_values"] * (1 + 1e-9 * noise)})

    adapter.forward = shaken  # type: ignore[method-assign]
    assert load_weights(adapter, adapter.build(), [], seed=0).fingerprint == identity


def test_a_model_that_knows_no_fp64_keeps_its_statistics() -> None:
    class Single(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)
            self.late = torch.nn.BatchNorm2d(3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.late(self.norm(pixels).float() @ torch.eye(8, dtype=torch.float64))

    adapter, _, _ = initialised("test_resnet")
    adapter.build = lambda: Single().eval()  # type: ignore[method-assign]
    adapter.forward = lambda model, given: {"y": model(given["pixel_values"])}  # type: ignore[method-assign]
    like = Single().state_dict()
    tensors = random_state_dict(like, 0)
    fitted = fit_statistics(adapter, tensors, {})
    assert fitted.keys() == {"norm.running_mean", "norm.running_var"}
    assert not torch.equal(fitted["norm.running_var"], tensors["norm.running_var"])
