"""Token ids: of a real text by the model's own tokenizer, else seeded ones within its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import CannotRunError
from kit.models.families.image_patches import image_patches
from kit.models.families.making import Making, configs, seeded
from kit.models.families.tokenizer import TOKENIZER, read_tokenizer
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

# Article 1 of the Universal Declaration of Human Rights.
TEXT = "All human beings are born free and equal in dignity and rights."
_TOKENS = 16
_DECODER_TOKENS = 8
# What configs call the token that stands for a piece of an image, and those around all of them.
_IMAGE = ("image_token_id", "image_token_index")
_START = ("vision_start_token_id", "image_start_token_id")
_END = ("vision_end_token_id", "image_end_token_id")


def input_ids(making: Making) -> Tensor | None:
    """int64 [1, tokens]."""
    import torch

    vocabulary = making.size("vocab_size", "src_vocab_size", "n_words")
    if vocabulary is None:
        return None
    if TOKENIZER in making.companions:
        text = making.take_value() or TEXT
        ids = _encode(making.companions[TOKENIZER], text, vocabulary)
        if longest := making.size("max_position_embeddings", "n_positions"):
            ids = ids[: max(longest - 2, 1)]
        making.said.append(text)
    else:
        if making.value is not None and "pixel_values" not in making.parameters:
            raise CannotRunError(Reason("text_needs", file=TOKENIZER), Reason("put_beside"))
        longest = making.size("max_position_embeddings", "n_positions", default=_TOKENS) or _TOKENS
        count = max(min(_TOKENS, longest - 2), 2)
        ids = _legal_ids(making.config, vocabulary, count, "input_ids")
        making.said.append(f"{count} seeded token ids ({TOKENIZER} is not at hand)")
    ids = [*_image_tokens(making, vocabulary), *ids]
    making.tokens = len(ids)
    tensor = torch.tensor([ids])
    if (token := _token_id(making.config, _IMAGE, vocabulary)) is not None:
        making.of_image = tensor == token
    return tensor


def attention_mask(making: Making) -> Tensor | None:
    """Ones for every token: nothing is padding. None where the tokens are not the main input."""
    import torch

    return None if making.tokens is None else torch.ones((1, making.tokens), dtype=torch.int64)


def boxes(making: Making) -> Tensor | None:
    """int64 [1, tokens, 4]: boxes of words, left, top, right, bottom in 0..1000."""
    import torch

    if making.tokens is None:
        return None
    generator = seeded("bbox")
    most = making.size("max_2d_position_embeddings", default=1024) or 1024
    corners = torch.randint(0, min(1000, most - 1), (1, making.tokens, 2, 2), generator=generator)
    return corners.sort(dim=2).values.flatten(2)


def decoder_input_ids(making: Making) -> Tensor | None:
    """int64 [1, 8]: the start token, then seeded ids."""
    import torch

    config = making.config
    if not getattr(config, "is_encoder_decoder", False):
        return None
    decoder = getattr(config, "decoder", None)
    sizes = Making(decoder if hasattr(decoder, "to_dict") else config, {}, None, {})
    vocabulary = sizes.size("tgt_vocab_size", "decoder_vocab_size", "vocab_size", default=2) or 2
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    starts = [getattr(each, name, None) for each in (config, sizes.config) for name in names]
    start = next((each for each in starts if type(each) is int and 0 <= each < vocabulary), 0)
    ids = _legal_ids(config, vocabulary, _DECODER_TOKENS - 1, "decoder_input_ids")
    return torch.tensor([[start, *ids]])


def _image_tokens(making: Making, vocabulary: int) -> list[int]:
    """Where a text model reads an image as tokens of its own: one for each patch of the image."""
    vision = getattr(making.config, "vision_config", None)
    token = _token_id(making.config, _IMAGE, vocabulary)
    if vision is None or token is None:
        return []
    if (patches := image_patches(making)) is not None:
        first, last = (_token_id(making.config, names, vocabulary) for names in (_START, _END))
        around = [[] if each is None else [each] for each in (first, last)]
        return [*around[0], *[token] * patches.tokens, *around[1]]
    side, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if type(side) is not int or type(patch) is not int:
        return []
    whole = getattr(making.config, "vision_feature_select_strategy", None) == "full"
    return [token] * ((side // patch) ** 2 + whole)


def _token_id(config: Any, names: tuple[str, ...], vocabulary: int) -> int | None:
    """The first of these ids that the config has, if the vocabulary has it."""
    token = next((found for name in names if (found := getattr(config, name, None))), None)
    return token if type(token) is int and 0 <= token < vocabulary else None


def _encode(file: Path, text: str, vocabulary: int) -> list[int]:
    """The text's ids by tokenizer.json alone, without padding. Raises CannotRunError where that cannot
    be this model's: an id beyond the vocabulary, or the same id for nearly every word."""
    ids: list[int] = read_tokenizer(file).encode(text).ids
    words = len(set(text.split()))
    if not ids or max(ids) >= vocabulary or (words > 3 and len(set(ids)) <= 3):
        raise CannotRunError(
            Reason(
                "ids_beyond",
                file=TOKENIZER,
                text=repr(text[:60]),
                made=str(ids[:12]),
                vocabulary=vocabulary,
            ),
            Reason("fetch_again"),
        )
    return ids


def _legal_ids(config: Any, vocabulary: int, count: int, key: str) -> list[int]:
    """Seeded ids that stand for no special token, the end token last where the config names one."""
    import torch

    special = {
        value
        for each in configs(config)
        for name, value in vars(each).items()
        if name.endswith(("_token_id", "_token_index")) and type(value) is int
    }
    order = torch.randperm(vocabulary, generator=seeded(key)).tolist()
    ids = [each for each in order if each not in special][:count] or [0]
    ids = (ids * count)[:count]
    end = getattr(config, "eos_token_id", None) or getattr(
        getattr(config, "text_config", None), "eos_token_id", None
    )
    if type(end) is int and 0 <= end < vocabulary:
        ids[-1] = end
    return ids
