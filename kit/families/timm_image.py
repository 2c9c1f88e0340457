"""timm image classifiers: one forward gives the pooled features and the class logits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kit.adapter import Adapter, ModelInput, OutputSpec
from kit.errors import UsageError
from kit.families.torchvision_ops import declare_missing_ops

if TYPE_CHECKING:
    from torch import Tensor, nn


class TimmImageClassifier(Adapter):
    """A timm classifier whose config.json (the hub's format) lies in the model's folder.

    `photo` is the default input, an image file in the same folder.
    """

    primary = "features"
    outputs: ClassVar[Mapping[str, OutputSpec]] = {
        "features": OutputSpec(role="features"),
        "logits": OutputSpec(role="logits"),
    }
    photo: ClassVar[str] = "photo.png"

    def check_input(self, value: str | None) -> None:
        """Raise UsageError where VALUE is not an image file that Pillow can read."""
        from PIL import Image

        path = self._image_path(value)
        try:
            with Image.open(path) as image:
                image.load()
        # Pillow raises SyntaxError, ValueError and others besides OSError on damaged files.
        except Exception as error:
            raise UsageError(
                f"--input {path}: not a readable image ({error}); give a JPEG or PNG file"
            ) from error

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
        from PIL import Image

        path = self._image_path(value)
        transform = timm.data.create_transform(
            **timm.data.resolve_data_config(pretrained_cfg=self._config()["pretrained_cfg"])
        )
        with Image.open(path) as image:
            pixels = transform(image.convert("RGB")).unsqueeze(0)
            size = f"{image.width}x{image.height}"
        return ModelInput(
            tensors={"pixel_values": pixels}, description=f"image {path.name} ({size} pixels)"
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
        declare_missing_ops()
        import timm.data

        logits, classes = outputs["logits"][0].float().topk(5)
        names = timm.data.ImageNetInfo() if self._config()["num_classes"] == 1000 else None
        return {
            "top5": [
                {
                    "index": index,
                    "label": names.index_to_description(index) if names else None,
                    "logit": logit if math.isfinite(logit) else None,
                }
                for index, logit in zip(classes.tolist(), logits.tolist(), strict=True)
            ]
        }

    def _image_path(self, value: str | None) -> Path:
        return self.folder / self.photo if value is None else Path(value)

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return config
