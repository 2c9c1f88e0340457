"""Pixels: of a real photograph as the model's own processor sees it, else scaled to [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.models.declaration import CONFIG
from kit.models.families.image_patches import image_patches
from kit.models.families.making import PROCESSOR, Making, configs, uniform
from kit.models.families.photo import check_size, chosen_photo

if TYPE_CHECKING:
    from torch import Tensor


def pixel_values(making: Making) -> Tensor | None:
    """float32 [1, channels, height, width]; of a video model [1, frames, channels, height, width]; of one
    that takes patches [patches, values of one]."""
    import numpy as np
    import torch

    if (patches := image_patches(making)) is not None:
        return patches.pixels
    image, what = chosen_photo(making.take_value())
    channels = making.size("num_channels", "in_channels", "in_chans", default=3) or 3
    if channels == 1:
        image, what = image.convert("L"), f"{what} in grey"
    frames = making.size("num_frames")
    if (processor := making.processor("image_processor")) is not None:
        with making.using_processor():
            # As an array that has its one channel: transformers 4 finds none in a grey PIL image.
            given = np.asarray(image)[..., None] if channels == 1 else image
            pixels: Tensor = processor(given, return_tensors="pt")["pixel_values"]
        making.said.append(what)
        return pixels
    height, width = _image_size(making)
    check_size(height, width, CONFIG)
    if channels in (1, 3):
        scaled = np.asarray(image.resize((width, height)), dtype="float32") / 127.5 - 1.0
        pixels = torch.from_numpy(scaled.reshape(height, width, channels))
        pixels = pixels.permute(2, 0, 1).contiguous()
        making.said.append(f"{what} scaled to [-1, 1] ({PROCESSOR} is not at hand)")
    else:
        pixels = uniform("pixel_values", channels, height, width)
        making.said.append(f"seeded pixels, {channels} channels ({PROCESSOR} is not at hand)")
    if frames:
        pixels = pixels.expand(frames, *pixels.shape).clone()
        pixels *= torch.linspace(0.5, 1.0, frames).reshape(-1, 1, 1, 1)
    return pixels.unsqueeze(0)


def noise(making: Making) -> Tensor | None:
    """float32 [1, patches] in [0, 1): which patches a masked autoencoder hides, the same each time."""
    if making.size("mask_ratio") is None and not hasattr(making.config, "mask_ratio"):
        return None
    height, width = _image_size(making)
    patch = making.size("patch_size", default=16) or 16
    return uniform("noise", 1, (height // patch) * (width // patch)).abs()


def _image_size(making: Making) -> tuple[int, int]:
    for each in configs(making.config):
        for name in ("image_size", "input_size", "img_size"):
            size = getattr(each, name, None)
            if isinstance(size, dict):
                size = (size.get("height"), size.get("width"))
            if type(size) is int:
                return size, size
            if (
                isinstance(size, (list, tuple))
                and len(size) >= 2
                and all(type(s) is int for s in size)
            ):
                return size[-2], size[-1]
    return 224, 224
