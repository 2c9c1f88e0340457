"""timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k: ImageNet classification with a 5.7 M ViT."""

from kit.models.adapter import ModelInfo
from kit.models.families.timm_image import TimmImageClassifier


class VitTinyPatch16(TimmImageClassifier):
    info = ModelInfo(
        name="timm/vit_tiny_patch16_224",
        hub_id="timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        revision="7d3afdd0cf93ad84d986eb2d6bcc5812ebd0b106",
        vendor="timm",
        task="image classification",
        pipeline_tag="image-classification",
        library="timm",
        license="apache-2.0",
        architecture="vit_tiny_patch16_224",
        parameters=5_717_416,
        tensors=152,
        published={
            "model.safetensors": "fecf81b492bd13ee7a5297cb74d1d417aac8bf7e1b7d96aed89c4691984587ed",
        },
    )


ADAPTER = VitTinyPatch16
