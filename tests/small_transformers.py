"""Small models of many transformers types, each saved by the library's own save_pretrained.

Their configs are the library's defaults with everything that costs memory or time made small; the weights
are the library's own initialisation.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from kit.models.families.torchvision_ops import without_torchvision

# By attribute, wherever a config (or one inside it) has a whole number there.
SMALL: dict[str, Any] = {
    **dict.fromkeys(
        "hidden_size d_model dim n_embd embedding_size emb_dim encoder_hidden_size projection_dim "
        "decoder_hidden_size hidden_dim conv_dim_ output_hidden_size word_embed_proj_dim".split(),
        32,
    ),
    **dict.fromkeys(
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers "
        "num_decoder_layers decoder_num_hidden_layers num_encoder_layers encoder_num_hidden_layers".split(),
        2,
    ),
    **dict.fromkeys(
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
        "num_key_value_heads decoder_num_attention_heads encoder_num_attention_heads".split(),
        4,
    ),
    **dict.fromkeys(
        "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff d_inner n_inner "
        "decoder_intermediate_size encoder_intermediate_size hidden_size_mlp".split(),
        64,
    ),
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "n_positions": 128,
    "d_kv": 8,
    "head_dim": 8,
    "image_size": 64,
    "patch_size": 16,
}
TYPES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)


def save_small(model_type: str, folder: Path) -> None:
    """Write a small model of this type into `folder`: config.json and model.safetensors."""
    with without_torchvision():
        import torch
        import transformers

        torch.manual_seed(0)
        config = small_config(model_type)
        if "backbone_config" in TYPES[model_type].get("set", {}):
            config.use_timm_backbone, config.backbone = False, None
            config.backbone_config = small_config("resnet", out_features=["stage2"])
        model = getattr(transformers, TYPES[model_type]["class"])(config)
    model.save_pretrained(folder)


def small_config(model_type: str, **more: Any) -> Any:
    """The library's config of this type, made small."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    known = CONFIG_MAPPING[model_type]
    if model_type == "vision-encoder-decoder":
        return known.from_encoder_decoder_configs(small_config("vit"), small_config("gpt2"))
    if model_type == "encoder-decoder":
        return known.from_encoder_decoder_configs(small_config("bert"), small_config("bert"))
    entry = TYPES.get(model_type, {})
    config = known()
    inner = {key: value for key, value in vars(config).items() if hasattr(value, "to_dict")}
    parts = {key: type(value)(**_shrunk(value)) for key, value in inner.items()}
    small = {
        key: value
        for key, value in _shrunk(config).items()
        if key not in entry.get("library_has", ())
    }
    values = {**small, **parts, **entry.get("set", {}), **more}
    values.pop("backbone_config", None)
    return known(**values)


def _shrunk(config: Any) -> dict[str, Any]:
    return {key: value for key, value in SMALL.items() if type(getattr(config, key, None)) is int}
