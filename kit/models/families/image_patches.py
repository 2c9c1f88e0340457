"""An image of any size in flattened patches, with their grid, as many image-text models take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kit.errors import UnsupportedError
from kit.models.declaration import CONFIG
from kit.models.families.making import GRID, PROCESSOR, Making, Patches
from kit.models.families.photo import check_size, chosen_photo
from kit.words import Reason

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Where no file says how large the model sees an image: so many tokens in a row and in a column.
_SIDE = 4


def image_patches(making: Making) -> Patches | None:
    """The image in flattened patches, made once, where the model takes it so."""
    if GRID in making.parameters and making.patches is None:
        making.patches = _made(making)
    return making.patches


def _made(making: Making) -> Patches:
    """The photograph by the model's own processor, else scaled to [-1, 1] and cut by its config.

    Raises UnsupportedError where the config does not say how large a patch is.
    """
    vision = getattr(making.config, "vision_config", None)
    patch, merge = getattr(vision, "patch_size", None), getattr(vision, "spatial_merge_size", None)
    if type(patch) is not int or type(merge) is not int or patch < 1 or merge < 1:
        raise UnsupportedError(
            Reason("needs_unknown", name=type(making.config).__name__, inputs=[GRID]),
            Reason("write_adapter"),
        )
    image, what = chosen_photo(making.take_value())
    if (processor := making.processor("image_processor")) is not None:
        with making.using_processor():
            made = processor(images=image, return_tensors="pt")
            pixels, grid = made["pixel_values"], made[GRID]
        making.said.append(what)
    else:
        pixels, grid = _cut(image, vision, patch, merge)
        making.said.append(f"{what} scaled to [-1, 1] ({PROCESSOR} is not at hand)")
    return Patches(pixels=pixels, grid=grid, tokens=int(grid.prod()) // merge**2)


def _cut(image: Image, vision: Any, patch: int, merge: int) -> tuple[Tensor, Tensor]:
    """Patches in the order of Qwen2-VL's processor: those that are merged stand together; each has its
    channels, then its frames, all the same, then its rows."""
    import numpy as np
    import torch

    frames = getattr(vision, "temporal_patch_size", 1)
    side = _SIDE * merge
    check_size(side * patch, side * patch, CONFIG)
    scaled = np.asarray(image.resize((side * patch, side * patch)), dtype="float32") / 127.5 - 1.0
    pixels = torch.from_numpy(scaled).permute(2, 0, 1)
    cut = pixels.reshape(3, _SIDE, merge, patch, _SIDE, merge, patch).permute(1, 4, 2, 5, 0, 3, 6)
    repeated = cut.unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)
    return repeated.reshape(side**2, -1).contiguous(), torch.tensor([[1, side, side]])


def image_grid(making: Making) -> Tensor | None:
    """int64 [1, 3]: frames, rows and columns of the patches."""
    patches = image_patches(making)
    return None if patches is None else patches.grid


def token_types(making: Making) -> Tensor | None:
    """int64 [1, tokens]: 1 where a token stands for a piece of the image, 0 for text."""
    return None if making.of_image is None else making.of_image.long()
