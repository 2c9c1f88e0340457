"""Inputs of a transformers model, batch 1, without padding: by its own files, else by its config.

A tokenizer.json gives the ids of a real text, a preprocessor_config.json the model's own view of a real
photograph or of a sound. Where one is absent, the values are legal and their shapes the config's: seeded
ids below the vocabulary, the photograph scaled to [-1, 1], the sound's bare samples, seeded features; the
description says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kit.errors import CannotRunError, UnsupportedError, UsageError, visible
from kit.models.adapter import ModelInput
from kit.models.families.photo import check_photo, open_upright, sample_photo
from kit.models.families.sound import read_sound, synthetic_sound
from kit.models.families.tokenizer import TOKENIZER, read_tokenizer
from kit.models.families.torchvision_ops import without_torchvision

if TYPE_CHECKING:
    from torch import Tensor

PROCESSOR = "preprocessor_config.json"
# The companions that inputs are made with, as far as a model has them.
INPUT_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", PROCESSOR)
# Article 1 of the Universal Declaration of Human Rights.
TEXT = "All human beings are born free and equal in dignity and rights."
_TOKENS = 16
_DECODER_TOKENS = 8
_SAMPLING_RATE = 16_000
_NEEDED = ("self", "args", "kwargs")


@dataclass
class _Making:
    """What one input is made of, and what is said of it."""

    config: Any
    parameters: Mapping[str, Any]
    value: str | None
    companions: Mapping[str, Path]
    said: list[str] = field(default_factory=list)
    value_used: bool = False
    tokens: int | None = None

    def take_value(self) -> str | None:
        """The user's --input, for the first modality that asks for it."""
        if self.value_used:
            return None
        self.value_used = True
        return self.value

    def size(self, *names: str, default: int | None = None) -> int | None:
        """The first integer of these names in the config or the configs inside it."""
        for each in _configs(self.config):
            for name in names:
                value = getattr(each, name, None)
                if isinstance(value, (list, tuple)) and value:
                    value = value[-1]
                if type(value) is int and value > 0:
                    return value
        return default


def make_inputs(
    config: Any, model_class: Any, value: str | None, companions: Mapping[str, Path]
) -> ModelInput:
    """The tensors that the class's forward takes. Raises UnsupportedError where one cannot be guessed,
    UsageError for a --input that the model has no use for."""
    import inspect

    parameters = inspect.signature(model_class.forward).parameters
    making = _Making(config, parameters, value, companions)
    needed = {name for name, each in parameters.items() if _is_needed(name, each)}
    if unknown := sorted(needed - _MAKERS.keys()):
        raise UnsupportedError(
            f"{model_class.__name__} needs {', '.join(unknown)}, which nobody can guess: write "
            "models/<name>/adapter.py for it"
        )
    tensors: dict[str, Tensor] = {}
    for name, make in _MAKERS.items():
        if name in parameters and (made := make(making)) is not None:
            tensors[name] = made
    if not tensors:
        raise UnsupportedError(
            f"{model_class.__name__} takes {', '.join(list(parameters)[1:6])}, none of which the kit can "
            "make: write models/<name>/adapter.py for it"
        )
    if value is not None and not making.value_used:
        raise UsageError("--input: this model takes neither a text nor an image nor a sound")
    decoder = tensors.get("decoder_input_ids")
    return ModelInput(
        tensors=tensors,
        description="; ".join(making.said),
        input_tokens=making.tokens,
        decoder_input=None if decoder is None else decoder.tolist(),
    )


def _is_needed(name: str, parameter: Any) -> bool:
    variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return name != "self" and not variable and parameter.default is parameter.empty


def _configs(config: Any) -> Iterator[Any]:
    """The config and every config inside it, outermost first."""
    yield config
    for name in dict.fromkeys((*getattr(config, "sub_configs", {}), *vars(config))):
        inner = getattr(config, name, None)
        if hasattr(inner, "to_dict") and inner is not config:
            yield from _configs(inner)


def _input_ids(making: _Making) -> Tensor | None:
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
            raise CannotRunError(
                f"a text (--input, --data) needs the model's {TOKENIZER}, which is not at hand: put it "
                "beside the weights"
            )
        longest = making.size("max_position_embeddings", "n_positions", default=_TOKENS) or _TOKENS
        count = max(min(_TOKENS, longest - 2), 2)
        ids = _legal_ids(making.config, vocabulary, count, "input_ids")
        making.said.append(f"{count} seeded token ids ({TOKENIZER} is not at hand)")
    ids = [*_image_tokens(making, vocabulary), *ids]
    making.tokens = len(ids)
    return torch.tensor([ids])


def _image_tokens(making: _Making, vocabulary: int) -> list[int]:
    """Where a text model reads an image as tokens of its own: one for each patch of the image."""
    vision = getattr(making.config, "vision_config", None)
    names = ("image_token_id", "image_token_index")
    token = next((found for name in names if (found := getattr(making.config, name, None))), None)
    if vision is None or type(token) is not int or not 0 <= token < vocabulary:
        return []
    side, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if type(side) is not int or type(patch) is not int:
        return []
    whole = getattr(making.config, "vision_feature_select_strategy", None) == "full"
    return [token] * ((side // patch) ** 2 + whole)


def _encode(file: Path, text: str, vocabulary: int) -> list[int]:
    """The text's ids by tokenizer.json alone, without padding. Raises CannotRunError where that cannot
    be this model's: an id beyond the vocabulary, or the same id for nearly every word."""
    ids: list[int] = read_tokenizer(file).encode(text).ids
    words = len(set(text.split()))
    if not ids or max(ids) >= vocabulary or (words > 3 and len(set(ids)) <= 3):
        raise CannotRunError(
            f"{TOKENIZER} is not this model's: it encodes {text[:60]!r} as {ids[:12]}, and the model knows "
            f"ids below {vocabulary}; fetch it again"
        )
    return ids


def _legal_ids(config: Any, vocabulary: int, count: int, key: str) -> list[int]:
    """Seeded ids that stand for no special token, the end token last where the config names one."""
    import torch

    special = {
        value
        for each in _configs(config)
        for name, value in vars(each).items()
        if name.endswith(("_token_id", "_token_index")) and type(value) is int
    }
    order = torch.randperm(vocabulary, generator=_generator(key)).tolist()
    ids = [each for each in order if each not in special][:count] or [0]
    ids = (ids * count)[:count]
    end = getattr(config, "eos_token_id", None) or getattr(
        getattr(config, "text_config", None), "eos_token_id", None
    )
    if type(end) is int and 0 <= end < vocabulary:
        ids[-1] = end
    return ids


def _attention_mask(making: _Making) -> Tensor | None:
    """Ones for every token: nothing is padding. None where the tokens are not the main input."""
    import torch

    return None if making.tokens is None else torch.ones((1, making.tokens), dtype=torch.int64)


def _bbox(making: _Making) -> Tensor | None:
    """int64 [1, tokens, 4]: boxes of words, left, top, right, bottom in 0..1000."""
    import torch

    if making.tokens is None:
        return None
    generator = _generator("bbox")
    most = making.size("max_2d_position_embeddings", default=1024) or 1024
    corners = torch.randint(0, min(1000, most - 1), (1, making.tokens, 2, 2), generator=generator)
    return corners.sort(dim=2).values.flatten(2)


def _decoder_input_ids(making: _Making) -> Tensor | None:
    """int64 [1, 8]: the start token, then seeded ids."""
    import torch

    config = making.config
    if not getattr(config, "is_encoder_decoder", False):
        return None
    decoder = getattr(config, "decoder", None)
    sizes = _Making(decoder if hasattr(decoder, "to_dict") else config, {}, None, {})
    vocabulary = sizes.size("tgt_vocab_size", "decoder_vocab_size", "vocab_size", default=2) or 2
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    starts = [getattr(each, name, None) for each in (config, sizes.config) for name in names]
    start = next((each for each in starts if type(each) is int and 0 <= each < vocabulary), 0)
    ids = _legal_ids(config, vocabulary, _DECODER_TOKENS - 1, "decoder_input_ids")
    return torch.tensor([[start, *ids]])


def _pixel_values(making: _Making) -> Tensor | None:
    """float32 [1, channels, height, width]; of a video model [1, frames, channels, height, width]."""
    import torch

    value = making.take_value()
    path = sample_photo() if value is None else Path(value)
    check_photo(path)
    image = open_upright(path)
    what = f"image {path.name} ({image.width}x{image.height} pixels)"
    channels = making.size("num_channels", "in_channels", "in_chans", default=3) or 3
    frames = making.size("num_frames")
    if PROCESSOR in making.companions:
        pixels: Tensor = _processor(making.companions[PROCESSOR], "AutoImageProcessor")(
            image, return_tensors="pt"
        )["pixel_values"]
        making.said.append(what)
        return pixels
    height, width = _image_size(making)
    if channels == 3:
        import numpy as np

        scaled = np.asarray(image.resize((width, height)), dtype="float32") / 127.5 - 1.0
        pixels = torch.from_numpy(scaled).permute(2, 0, 1).contiguous()
        making.said.append(f"{what} scaled to [-1, 1] ({PROCESSOR} is not at hand)")
    else:
        pixels = _uniform("pixel_values", channels, height, width)
        making.said.append(f"seeded pixels, {channels} channels ({PROCESSOR} is not at hand)")
    if frames:
        pixels = pixels.expand(frames, *pixels.shape).clone()
        pixels *= torch.linspace(0.5, 1.0, frames).reshape(-1, 1, 1, 1)
    return pixels.unsqueeze(0)


def _image_size(making: _Making) -> tuple[int, int]:
    for each in _configs(making.config):
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


def _input_values(making: _Making) -> Tensor | None:
    """A second of sound, float32 [1, samples] or [1, channels, samples]; a spectrogram [1, frames, bins]
    where the config speaks of one."""
    if PROCESSOR in making.companions:
        return _extracted(making, "input_values")
    bins, frames = making.size("num_mel_bins"), making.size("max_length")
    if bins and frames:
        _say_seeded_spectrogram(making)
        return _uniform("input_values", 1, frames, bins)
    rate = making.size("sampling_rate", default=_SAMPLING_RATE) or _SAMPLING_RATE
    sound = _sound(making, rate, f" ({PROCESSOR} is not at hand)")
    channels = getattr(making.config, "audio_channels", None)
    return sound.expand(1, channels, -1).clone() if channels else sound.unsqueeze(0)


def _input_features(making: _Making) -> Tensor | None:
    """A spectrogram: [1, bins, frames] for Whisper's kind, [1, frames, bins] for others."""
    if PROCESSOR in making.companions:
        return _extracted(making, "input_features")
    _say_seeded_spectrogram(making)
    if bins := making.size("input_feat_per_channel", "feature_projection_input_dim"):
        return _uniform("input_features", 1, 128, bins)
    bins = making.size("num_mel_bins", default=80) or 80
    if positions := making.size("max_source_positions"):
        return _uniform("input_features", 1, bins, 2 * positions)
    return _uniform("input_features", 1, 128, bins)


def _extracted(making: _Making, name: str) -> Tensor | None:
    extractor = _processor(making.companions[PROCESSOR], "AutoFeatureExtractor")
    rate = int(getattr(extractor, "sampling_rate", _SAMPLING_RATE))
    if name not in extractor.model_input_names:
        return None
    sound = _sound(making, rate)
    tensor: Tensor = extractor(sound.numpy(), sampling_rate=rate, return_tensors="pt")[name]
    return tensor


def _sound(making: _Making, rate: int, remark: str = "") -> Tensor:
    """The user's sound or the kit's own, float32 [samples] at `rate` Hz."""
    value = making.take_value()
    if value is None:
        making.said.append(f"a synthetic sound of 1 s at {rate} Hz{remark}")
        return synthetic_sound(rate)
    sound = read_sound(Path(value), rate)
    seconds = len(sound) / rate
    making.said.append(f"sound {visible(Path(value).name)} ({seconds:.1f} s at {rate} Hz){remark}")
    return sound


def _say_seeded_spectrogram(making: _Making) -> None:
    """Raises CannotRunError where the user gave a sound: only the model's own file says how it is seen."""
    if making.value is not None and not making.value_used:
        raise CannotRunError(
            f"a sound (--input) needs the model's {PROCESSOR}, which is not at hand: put it beside the "
            "weights"
        )
    making.said.append(f"seeded spectrogram ({PROCESSOR} is not at hand)")


def _noise(making: _Making) -> Tensor | None:
    """float32 [1, patches] in [0, 1): which patches a masked autoencoder hides, the same each time."""
    if making.size("mask_ratio") is None and not hasattr(making.config, "mask_ratio"):
        return None
    height, width = _image_size(making)
    patch = making.size("patch_size", default=16) or 16
    return _uniform("noise", 1, (height // patch) * (width // patch)).abs()


def _past_values(making: _Making) -> Tensor | None:
    """float32 [1, context, channels] of a time series."""
    length = making.size("context_length", "prediction_length")
    if length is None:
        return None
    making.said.append("a seeded time series")
    channels = making.size("num_input_channels", "input_size", default=1) or 1
    return _uniform("past_values", 1, length, channels)


def _processor(file: Path, kind: str) -> Any:
    """The model's own processor, of transformers' own classes. Raises CannotRunError."""
    try:
        with without_torchvision():
            import transformers

            return getattr(transformers, kind).from_pretrained(
                file.parent, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever a file of another version makes of it
        raise CannotRunError(
            f"{PROCESSOR} cannot be used ({type(error).__name__}: {error}): fetch it again"
        ) from error


def _uniform(key: str, *shape: int) -> Tensor:
    """Seeded float32 in [-1, 1)."""
    import torch

    return torch.rand(shape, generator=_generator(key)) * 2 - 1


def _generator(key: str) -> Any:
    import torch

    return torch.Generator().manual_seed(crc32(key.encode()))


# By the argument of forward, in the order in which they are made.
_MAKERS: Mapping[str, Callable[[_Making], Tensor | None]] = {
    "input_ids": _input_ids,
    "attention_mask": _attention_mask,
    "bbox": _bbox,
    "pixel_values": _pixel_values,
    "input_features": _input_features,
    "input_values": _input_values,
    "noise": _noise,
    "past_values": _past_values,
    "decoder_input_ids": _decoder_input_ids,
}
