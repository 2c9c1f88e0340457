"""Inputs of a transformers model, batch 1, without padding: by its own files, else by its config.

A tokenizer.json gives the ids of a real text, a preprocessor_config.json (or processor_config.json) the
model's own view of a real photograph or of a sound. Where one is absent, the values are legal and their
shapes the config's: seeded ids below the vocabulary, the photograph scaled to [-1, 1], the sound's bare
samples, seeded features; the description says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import UnsupportedError, UsageError
from kit.models.adapter import ModelInput
from kit.models.families.image_inputs import noise, pixel_values
from kit.models.families.image_patches import image_grid, token_types
from kit.models.families.making import GRID, PROCESSOR, PROCESSORS, Making, uniform
from kit.models.families.sound_inputs import input_features, input_values
from kit.models.families.text_inputs import attention_mask, boxes, decoder_input_ids, input_ids
from kit.models.families.tokenizer import TOKENIZER
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

# The companions that inputs are made with, as far as a model has them.
INPUT_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", PROCESSOR, PROCESSORS)


def make_inputs(
    config: Any, model_class: Any, value: str | None, companions: Mapping[str, Path]
) -> ModelInput:
    """The tensors that the class's forward takes. Raises UnsupportedError where one cannot be guessed,
    UsageError for a --input that the model has no use for."""
    parameters = inspect.signature(model_class.forward).parameters
    making = Making(config, parameters, value, companions)
    needed = {name for name, each in parameters.items() if _is_needed(name, each)}
    if unknown := sorted(needed - _MAKERS.keys()):
        raise UnsupportedError(
            Reason("needs_unknown", name=model_class.__name__, inputs=unknown),
            Reason("write_adapter"),
        )
    tensors: dict[str, Tensor] = {}
    for name, make in _MAKERS.items():
        if name in parameters and (made := make(making)) is not None:
            tensors[name] = made
    if not tensors:
        taken = list(parameters)[1:6]
        raise UnsupportedError(
            Reason("takes_unknown", name=model_class.__name__, inputs=taken),
            Reason("write_adapter"),
        )
    if value is not None and not making.value_used:
        raise UsageError(Reason("no_use_for_input"), Reason("leave_out"))
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


def _past_values(making: Making) -> Tensor | None:
    """float32 [1, context, channels] of a time series."""
    length = making.size("context_length", "prediction_length")
    if length is None:
        return None
    making.said.append("a seeded time series")
    channels = making.size("num_input_channels", "input_size", default=1) or 1
    return uniform("past_values", 1, length, channels)


# By the argument of forward, in the order in which they are made.
_MAKERS: Mapping[str, Callable[[Making], Tensor | None]] = {
    "input_ids": input_ids,
    "attention_mask": attention_mask,
    "bbox": boxes,
    "pixel_values": pixel_values,
    GRID: image_grid,
    "mm_token_type_ids": token_types,
    "input_features": input_features,
    "input_values": input_values,
    "noise": noise,
    "past_values": _past_values,
    "decoder_input_ids": decoder_input_ids,
}
