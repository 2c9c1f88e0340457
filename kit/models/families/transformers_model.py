"""transformers models of every kind: the class that the checkpoint names, and all that it gives."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kit.accuracy.spec import OutputSpec
from kit.errors import KitError, UnsupportedError, UsageError
from kit.models.adapter import ModelInput, SampleKind
from kit.models.declaration import CONFIG, ModelInfo, read_config
from kit.models.families.attention import ChoosesAttention
from kit.models.families.photo import check_photo
from kit.models.families.replay import TOKENS, replayed, with_tokens
from kit.models.families.sound import check_sound
from kit.models.families.top5 import top5
from kit.models.families.torchvision_ops import without_torchvision
from kit.models.families.transformers_config import check_config, library_class, library_config
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

# Parts of an output that are no result: losses, and what the next step of a generation starts from.
_NO_RESULT = ("loss", "past_", "cache", "mems", "state_")
# torch's words for tensors that do not go together, on any device: of what else it says it is no guess.
_OF_SHAPES = re.compile(
    r"shapes cannot be multiplied|must match the (existing )?size|is invalid for input of size|"
    r"expects split_sizes to sum|expected input|Expected \d+D"
)
# The output that the headline figures are of: the first of these that the model gives.
_HEADLINE = (
    "logits",
    "prediction_logits",
    "logits_per_image",
    "last_hidden_state",
    "pooler_output",
)


class TransformersModel(ChoosesAttention):
    """A transformers model with a config.json; its outputs are known when it has run once.

    Inputs come from the model's own tokenizer and processor files where they are at hand, else from its
    config (transformers_inputs.py).
    """

    def __init__(self, info: ModelInfo, files: Mapping[str, bytes], **places: Path | None) -> None:
        super().__init__(info, files, **places)
        self._document = check_config(read_config(files))
        self.primary = None
        self.outputs = {}
        self.samples = _samples(self._document)

    def check_input(self, value: str | None) -> None:
        """Raise UsageError for a text without a visible character, or an image or a sound that is none."""
        if value is not None and not value.strip():
            raise UsageError(Reason("is_empty"), Reason("give_sentence"))
        if value is not None and self.samples == "images":
            check_photo(Path(value))
        elif value is not None and self.samples is None and value.lower().endswith(".wav"):
            check_sound(Path(value))

    def build(self) -> nn.Module:
        """The named class in eval mode with the chosen attention, on the meta device but for its
        buffers. Raises UnsupportedError, UsageError for a config that cannot be built."""
        try:
            with without_torchvision():
                return self._built(partial(_constructed, self._class), self._config)
        except KitError:
            raise
        except ImportError as error:
            raise UnsupportedError(
                Reason(
                    "lacks_package",
                    architecture=self.info.architecture,
                    said=_one_line(error),
                ),
                Reason("install_it"),
            ) from error
        except Exception as error:  # whatever a class raises on values that do not fit each other
            raise UsageError(
                Reason(
                    "cannot_build",
                    architecture=self.info.architecture,
                    file=CONFIG,
                    said=f"{type(error).__name__}: {_one_line(error)}",
                ),
                Reason("fetch_again"),
            ) from error

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """What the class's forward takes, batch 1, without padding. Raises UnsupportedError where it needs
        an input that nobody can guess."""
        from kit.models.families.transformers_inputs import make_inputs

        return make_inputs(self._config, self._class, value, companions)

    def traced(self, model: nn.Module, chosen: ModelInput) -> ModelInput:
        """The input with the CPU's own greedy tokens, where the class generates text."""
        return with_tokens(model, chosen, chosen.tensors)

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every floating tensor of the model's output by its name there, nested names with dots."""
        extra = {"use_cache": False} if "use_cache" in _parameters(self._class) else {}
        try:
            result = model(**_without_tokens(inputs), **extra)
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            AssertionError,
            RuntimeError,
        ) as error:
            if isinstance(error, RuntimeError) and not _OF_SHAPES.search(str(error)):
                raise
            raise UnsupportedError(
                Reason(
                    "does_not_run",
                    architecture=self.info.architecture,
                    said=f"{type(error).__name__}: {_one_line(error)}",
                ),
                Reason("write_adapter"),
            ) from error
        outputs = dict(_tensors(result, ""))
        if not outputs:
            raise UnsupportedError(
                Reason("nothing_floating", architecture=self.info.architecture),
                Reason("write_adapter"),
            )
        return outputs

    def further_outputs(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The logits of the CPU's tokens, step by step."""
        return replayed(model, _without_tokens(inputs), inputs.get(TOKENS))

    def with_outputs(self, shapes: Mapping[str, Sequence[int]]) -> Self:
        """The adapter that declares these outputs: logits where the last dimension is the model's
        classes or tokens, features otherwise."""
        known = copy.copy(self)
        classes = _class_counts(self._document)
        known.outputs = {
            name: OutputSpec(role="logits" if _is_logits(name, shape, classes) else "features")
            for name, shape in shapes.items()
        }
        known.primary = next(
            (name for name in _HEADLINE if name in shapes), next(iter(shapes), None)
        )
        return known

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """`top5` of the first row of the first output that is logits; with the config's names."""
        ranked = [name for name, spec in self.outputs.items() if spec.role == "logits"]
        if not ranked:
            return {}
        name = self.primary if self.primary in ranked else ranked[0]
        rows = outputs[name].flatten(0, -2)
        names = self._document.get("id2label")
        known = names if isinstance(names, dict) and len(names) == rows.shape[-1] else {}
        labels = [known.get(str(index)) for index in range(rows.shape[-1])] if known else None
        return {
            "top5": top5(
                rows[0], (lambda found: [labels[each] for each in found]) if labels else None
            )
        }

    @cached_property
    def _config(self) -> Any:
        return library_config(self._document)

    @cached_property
    def _class(self) -> Any:
        return library_class(self._document)


def _constructed(model_class: Any, config: Any) -> nn.Module:
    """The named class, with the parameters that the library itself leaves out of every file (Marian's
    positions) as what they are: buffers, whose values it computes."""
    model: nn.Module = model_class(config)
    left_out = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    for path, module in model.named_modules():
        for name, parameter in [*module._parameters.items()]:
            if f"{path}.{name}" in left_out and parameter is not None:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach(), persistent=False)
    return model


def _without_tokens(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in inputs.items() if name != TOKENS}


def _parameters(model_class: Any) -> Mapping[str, Any]:
    import inspect

    return inspect.signature(model_class.forward).parameters


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The floating tensors of an output structure with their names, depth first."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point() and value.numel():
            yield name or "output", value
        return
    if isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [(str(index), item) for index, item in enumerate(value)]
    else:
        return  # a cache, or nothing
    for key, item in parts:
        if not any(word in key for word in _NO_RESULT):
            yield from _tensors(item, f"{name}.{key}" if name else key)


def _is_logits(name: str, shape: Sequence[int], classes: set[int]) -> bool:
    return "logits" in name and len(shape) >= 2 and shape[-1] > 1 and shape[-1] in classes


def _class_counts(document: Any) -> set[int]:
    """How many classes or tokens the last dimension of logits may have, by the config."""
    counts: set[int] = set()
    if isinstance(document, Mapping):
        for key, value in document.items():
            if type(value) is int and ("vocab" in key or key in ("num_labels", "n_words")):
                counts.add(value)
            elif key in ("id2label", "label2id") and isinstance(value, (Mapping, list)):
                counts |= {len(value), len(value) + 1}  # a detector has a class for nothing
            else:
                counts |= _class_counts(value)
        if not counts & {2, 3} and "num_labels" not in document and "id2label" not in document:
            counts |= {2, 3}  # transformers' default of two labels is in no file
    return counts


# What the configs of models say that hear; most have a vocabulary, too, which is of what they give.
_OF_SOUND = (
    "feat_extract_norm num_mel_bins input_feat_per_channel feature_projection_input_dim audio_channels "
    "sampling_rate"
).split()


def _samples(document: Mapping[str, Any]) -> SampleKind | None:
    """What --data can be: images or texts, where the model takes nothing beside."""
    text = any("vocab_size" in key for key in document)
    image = any(key in document for key in ("image_size", "num_channels", "patch_size"))
    sound = any(key in document for key in _OF_SOUND)
    several = any(f"{each}_config" in document for each in ("vision", "text", "audio", "encoder"))
    if sound or several or text is image:
        return None
    return "images" if image else "texts"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
