"""What each model does through the scripts, on the CPU and on the simulated NPU."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, SMALL, T5, VIT, Finished, Kit, write_tokenizer
from safetensors import safe_open


def test_t5_outputs_and_generation(finished: Finished) -> None:
    npu = finished("flan_t5_small", compared=False)
    with safe_open(npu.logs / "outputs.safetensors", framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    generated = npu.record["described"]["generated"]
    steps = len(generated["token_ids"]) - 1
    assert shapes == {
        "logits": [1, 1, 32128],
        "logits_teacher_forced": [1, 8, 32128],
        "encoder_last_hidden_state": [1, 11, 512],
        "generated_ids": [1, steps + 1],
        "generated_scores": [1, steps, 32128],
        "trace_logits": [2, 8, 32128],
        "trace_logits_uncached": [2, 8, 32128],
    }
    assert generated["text"] is None and "tokenizer.json" in generated["text_reason"]
    assert npu.record["input"]["input_tokens"] == 11


def test_vit_takes_any_image_and_names_classes(kit: Kit) -> None:
    from PIL import Image

    photo = kit.scratch / "grey.jpg"
    Image.linear_gradient("L").resize((640, 333)).save(photo)
    assert kit.infer(*VIT, "--input", photo).code == 0
    assert kit.record["input"]["description"] == "image grey.jpg (640x333 pixels)"
    assert kit.record["arguments"]["input"] == "grey.jpg"
    top5 = kit.record["described"]["top5"]
    assert len(top5) == 5 and all(entry["label"] for entry in top5)
    assert {name: output["shape"] for name, output in kit.record["outputs"].items()} == {
        "features": [1, 192],
        "logits": [1, 1000],
    }


@pytest.mark.full
def test_16_bit_and_rotated_images_are_seen_as_they_are(kit: Kit) -> None:
    import numpy as np
    from PIL import Image
    from safetensors.numpy import load_file

    ramp = np.linspace(0, 65535, 256 * 256).astype(np.uint16).reshape(256, 256)
    pixels = {}
    for name, image in {
        "deep": Image.fromarray(ramp),
        "plain": Image.fromarray((ramp >> 8).astype(np.uint8)),
    }.items():
        image.save(kit.scratch / f"{name}.png")
        assert kit.infer(*VIT, "--input", kit.scratch / f"{name}.png").code == 0
        pixels[name] = load_file(kit.logs / "inputs.safetensors")["pixel_values"]
    assert abs(pixels["deep"] - pixels["plain"]).max() < 0.02
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 200)).save(kit.scratch / "turned.jpg", exif=exif)
    assert kit.infer(*VIT, "--input", kit.scratch / "turned.jpg").code == 0
    assert "200x300" in kit.record["input"]["description"]


@pytest.mark.full  # test_samples.py has two texts
def test_t5_takes_a_text_where_its_tokenizer_is(
    kit: Kit, weights_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "with_tokenizer"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(weights_of("flan_t5_small"))
    write_tokenizer(folder / "tokenizer.json")
    result = kit.infer(*T5, "--weights", folder, "--input", "How old are you?")
    assert result.code == 0, result.err
    assert kit.record["input"]["input_tokens"] == 6
    assert kit.record["described"]["generated"]["text"] is not None
    assert kit.compare("--golden", "off").code == 0


def test_t5_text_without_a_tokenizer_is_an_error(kit: Kit) -> None:
    result = kit.infer(*T5, "--input", "How old are you?")
    assert result.code == 3
    assert "tokenizer.json" in result.error and "--weights" in result.error
    assert kit.summary["status"] == "FAILED"


def test_require_pretrained_without_weights(kit: Kit) -> None:
    result = kit.infer(*VIT, "--require-pretrained")
    assert result.code == 3
    assert "--require-pretrained" in result.error
    assert kit.record["status"] == "FAILED"
    assert kit.record["error"]["exit_code"] == 3


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.full)])
def test_half_precision_is_compared_with_fp32(npu: Kit, dtype: str) -> None:
    assert npu.infer(*SMALL, "--dtype", dtype).code == 0
    assert npu.record["outputs"]["features"]["dtype"] == dtype
    proof = npu.record["device_proof"]
    assert proof["weights_fingerprint"] != npu.record["weights"]["fingerprint"]
    assert npu.compare().code in (0, 1)
    assert 1e-5 < npu.summary["outputs"]["features"]["metrics"]["relative_l2"] < 0.05


def test_two_runs_have_the_same_weights_and_the_first_goes_to_the_history(judged_run: Kit) -> None:
    kit = judged_run
    first = kit.record
    assert kit.infer(*SMALL).code == 0
    assert kit.summary["verdict"] == "NOT_COMPARED"
    assert kit.record["weights"]["fingerprint"] == first["weights"]["fingerprint"]
    assert kit.record["outputs"] == first["outputs"]
    [earlier] = (kit.logs / "history").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-small_vit", earlier.name)
    assert {"run.json", "summary.json", "accuracy_compare.log"} <= {
        path.name for path in earlier.iterdir()
    }


@pytest.mark.full
def test_seed_changes_the_random_weights(kit: Kit) -> None:
    assert kit.infer(*SMALL, "--seed", "1").code == 0
    first = kit.record["weights"]
    assert kit.infer(*SMALL, "--seed", "2").code == 0
    second = kit.record["weights"]
    assert (first["seed"], second["seed"]) == (1, 2)
    assert first["fingerprint"] != second["fingerprint"]
    assert kit.compare("--golden", "off").code == 0


def test_models_are_found_by_hub_id_and_folder(kit: Kit) -> None:
    for wanted in (
        "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        ROOT / "models" / "vit_tiny_patch16_224",
    ):
        assert kit.infer(*QUICK, "--model", wanted).code == 0
        assert kit.record["model"]["adapter"] == "vit_tiny_patch16_224"
