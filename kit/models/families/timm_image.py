"""timm image classifiers: one forward gives the pooled features and the class logits."""

from __future__ import annotations

import importlib.resources
import json
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kit.accuracy.spec import OutputSpec
from kit.errors import UsageError, shown, visible
from kit.models.adapter import Adapter, ModelInput
from kit.models.families.top5 import top5
from kit.models.families.torchvision_ops import declare_missing_ops

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

# The published preprocessing scales the short side up first: a line of pixels would take gigabytes.
_LONGEST_RATIO = 50
# A quarter of a gigabyte once decoded, and as much again while it is turned upright.
_MOST_PIXELS = 64_000_000


class TimmImageClassifier(Adapter):
    """A timm classifier whose config.json (the hub's format) lies in the model's folder.

    `photo` is the default input, an image file in the same folder.
    """

    primary = "features"
    outputs: ClassVar[Mapping[str, OutputSpec]] = {
        "features": OutputSpec(role="features"),
        "logits": OutputSpec(role="logits"),
    }
    samples = "images"
    photo: ClassVar[str] = "photo.png"

    def check_input(self, value: str | None) -> None:
        """Raise UsageError where VALUE is not an image file that Pillow can read."""
        path = self._image_path(value)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError("no regular file")
            width, height = _open_upright(path).size
        except (ImportError, UsageError):
            raise  # Pillow is not there: no fault of the file; or it is told what is wrong
        # Pillow raises SyntaxError, ValueError and others besides OSError on damaged files.
        except Exception as error:
            raise UsageError(
                f"--input {shown(path)}: not a readable image ({error}); give a JPEG or PNG file"
            ) from error
        if max(width, height) > _LONGEST_RATIO * min(width, height):
            raise UsageError(
                f"--input {shown(path)}: {width}x{height} pixels are a line; give a photograph"
            )

    def build(self) -> nn.Module:
        """The architecture of config.json, on the meta device, in eval mode."""
        import torch

        declare_missing_ops()
        import timm

        config = self._config()
        with torch.device("meta"):
            model: nn.Module = timm.create_model(
                config["architecture"], pretrained=False, num_classes=config["num_classes"]
            )
        return model.eval()

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """`pixel_values`: float32 [1, 3, height, width] by the model's published preprocessing."""
        declare_missing_ops()
        import timm.data

        path = self._image_path(value)
        transform = timm.data.create_transform(
            **timm.data.resolve_data_config(pretrained_cfg=self._config()["pretrained_cfg"])
        )
        image = _open_upright(path)
        return ModelInput(
            tensors={"pixel_values": transform(image).unsqueeze(0)},
            description=f"image {visible(path.name)} ({image.width}x{image.height} pixels)",
        )

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`features` [batch, num_features] before the classifier, `logits` [batch, classes]."""
        timm_model: Any = model
        features = timm_model.forward_head(
            timm_model.forward_features(inputs["pixel_values"]), pre_logits=True
        )
        return {"features": features, "logits": timm_model.get_classifier()(features)}

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """`top5`: the five largest logits of the first row, with their class names."""
        known = self._config()["num_classes"] == 1000
        return {"top5": top5(outputs["logits"][0], _imagenet_labels if known else None)}

    def _image_path(self, value: str | None) -> Path:
        return self.folder / self.photo if value is None else Path(value)

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return config


def _open_upright(path: Path) -> Image.Image:
    """The image in RGB, turned as its EXIF orientation says. Raises what Pillow raises, UsageError for more
    pixels than are decoded in a moment."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
        opened = Image.open(path)
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise UsageError(
                f"--input {shown(path)}: {image.width}x{image.height} pixels are more than "
                f"{_MOST_PIXELS // 10**6} million: scale it down"
            )
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits: convert() alone would clip them to white
            upright = upright.convert("I").point(lambda value: value / 256)
        return upright.convert("RGB")


def _imagenet_labels(indices: list[int]) -> list[str | None]:
    """Names of ImageNet-1k classes, from timm's own lists.

    Not by timm.data.ImageNetInfo: it reads the definitions of all 21,843 classes, 15 MB for five names.
    """
    declare_missing_ops()
    folder = importlib.resources.files("timm.data").joinpath("_info")
    synsets = folder.joinpath("imagenet_synsets.txt").read_text("utf-8").split()
    wanted = {synsets[index] for index in indices}
    with folder.joinpath("imagenet_synset_to_lemma.txt").open(encoding="utf-8") as lines:
        pairs = (line.rstrip("\n").partition("\t") for line in lines)
        names = {synset: name for synset, _, name in pairs if synset in wanted}
    return [names.get(synsets[index]) for index in indices]
