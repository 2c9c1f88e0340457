"""transformers encoder-decoder text models: fixed decoder ids, teacher forcing, greedy generate."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from kit.accuracy.spec import OutputSpec
from kit.accuracy.trace import CACHED, UNCACHED
from kit.errors import UsageError
from kit.models.adapter import ModelInput
from kit.models.declaration import GENERATION, ModelInfo, read_config
from kit.models.families.attention import ChoosesAttention
from kit.models.families.replay import TOKENS, replayed, with_tokens
from kit.models.families.tokenizer import TOKENIZER, proven_tokenizer
from kit.models.families.top5 import Labels, top5
from kit.models.families.torchvision_ops import without_torchvision
from kit.models.families.transformers_config import check_config, library_class, library_config
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a declaration says to this family: texts, and token ids of the model's own tokenizer."""

    default_text: str
    default_ids: list[int]
    decoder_ids: list[int]
    teacher_ids: list[int]
    max_new_tokens: int = 16


class Seq2SeqText(ChoosesAttention):
    """A transformers encoder-decoder with a config.json and, perhaps, a generation_config.json.

    In its options `default_ids` are the published tokenizer's ids of `default_text`, so that the default
    input needs no tokenizer file. The primary output comes from the fixed one-token decoder input (a
    comparison of logits, not of sampled text); `teacher_ids` feed a longer decoder input, without which
    decoder self-attention is a softmax over one position and some tensors cannot matter.
    """

    primary = "logits"
    outputs: Mapping[str, OutputSpec] = {
        "logits": OutputSpec(role="logits"),
        "encoder_last_hidden_state": OutputSpec(role="features"),
        "logits_teacher_forced": OutputSpec(role="logits"),
        "generated_ids": OutputSpec(role="token_ids", scores="generated_scores"),
        "generated_scores": OutputSpec(role="step_scores"),
    }
    samples = "texts"

    def __init__(self, info: ModelInfo, files: Mapping[str, bytes], **places: Path | None) -> None:
        super().__init__(info, files, **places)
        self._options = msgspec.convert(info.options, Options)
        self._document = check_config(read_config(files))

    def check_input(self, value: str | None) -> None:
        """Raise UsageError for a text without a visible character."""
        if value is not None and not value.strip():
            raise UsageError(Reason("is_empty"), Reason("give_sentence"))

    def build(self) -> nn.Module:
        """The class of config.json in eval mode, its parameters on the meta device."""
        with without_torchvision():
            make = library_class(self._document)
            model: Any = self._built(make, library_config(self._document))
        if GENERATION in self.files:
            import transformers

            declared = read_config(self.files, GENERATION)
            # What a library notes of a config's origin is no setting; transformers 4 would look for more.
            settings = {name: value for name, value in declared.items() if name[:1] != "_"}
            model.generation_config = transformers.GenerationConfig.from_dict(settings)
        made: nn.Module = model
        return made

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """`input_ids` int64 [1, tokens], `decoder_input_ids` [1, 1], `teacher_input_ids` [1, 8]."""
        import torch

        text = self._options.default_text if value is None else value
        ids = self._options.default_ids if value is None else self._encode(value, companions)
        decoder = [self._options.decoder_ids]
        return ModelInput(
            tensors={
                "input_ids": torch.tensor([ids]),
                "decoder_input_ids": torch.tensor(decoder),
                "teacher_input_ids": torch.tensor([self._options.teacher_ids]),
            },
            description=text,
            input_tokens=len(ids),
            decoder_input=decoder,
        )

    def traced(self, model: nn.Module, chosen: ModelInput) -> ModelInput:
        """The input with the CPU's own greedy tokens."""
        return with_tokens(model, chosen, _prompt(chosen.tensors))

    def with_outputs(self, shapes: Mapping[str, Sequence[int]]) -> Self:
        """The adapter that declares the logits of the CPU's tokens too, where they were replayed."""
        known = copy.copy(self)
        logits = {name: OutputSpec(role="logits") for name in (CACHED, UNCACHED) if name in shapes}
        known.outputs = {**self.outputs, **logits}
        return known

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`logits` [1, 1, vocabulary] and `encoder_last_hidden_state` [1, tokens, d_model]."""
        result = model(
            input_ids=inputs["input_ids"],
            decoder_input_ids=inputs["decoder_input_ids"],
            use_cache=False,
        )
        return {
            "logits": result.logits,
            "encoder_last_hidden_state": result.encoder_last_hidden_state,
        }

    def further_outputs(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`logits_teacher_forced` [1, 8, vocabulary]; greedy `generated_ids` [1, 1 + steps] with the
        `generated_scores` [1, steps, vocabulary] that chose them; the logits of the CPU's tokens."""
        import torch

        teacher = model(
            input_ids=inputs["input_ids"],
            decoder_input_ids=inputs["teacher_input_ids"],
            use_cache=False,
        )
        generator: Any = model
        generated = generator.generate(
            input_ids=inputs["input_ids"],
            attention_mask=torch.ones_like(inputs["input_ids"]),
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._options.max_new_tokens,
            return_dict_in_generate=True,
            output_scores=True,
        )
        return {
            "logits_teacher_forced": teacher.logits,
            "generated_ids": generated.sequences,
            "generated_scores": torch.stack(generated.scores, dim=1),
            **replayed(model, _prompt(inputs), inputs.get(TOKENS)),
        }

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """`generated`: the greedy token ids, and their text where the tokenizer is at hand; `top5`: the
        five likeliest first tokens."""
        ids = outputs["generated_ids"][0].tolist()
        text = None
        labels: Labels | None = None
        reason: Reason | None = Reason("no_file", name=TOKENIZER)
        if TOKENIZER in companions:
            tokenizer = self._tokenizer(companions)
            text = tokenizer.decode(ids, skip_special_tokens=True)
            reason = None
            labels = partial(_tokens, tokenizer)
        return {
            "generated": {"token_ids": ids, "text": text, "text_reason": reason},
            "top5": top5(outputs["logits"][0, 0], labels),
        }

    def _encode(self, text: str, companions: Mapping[str, Path]) -> list[int]:
        tokenizer = self._tokenizer(companions)
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    def _tokenizer(self, companions: Mapping[str, Path]) -> Any:
        """The tokenizer, proven on the default sentence."""
        options = self._options
        return proven_tokenizer(
            companions, options.default_text, options.default_ids, source_url=self.info.source_url
        )


def _prompt(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What generate() takes: the text, and how the answer begins."""
    import torch

    mask = torch.ones_like(inputs["input_ids"])
    return {
        "input_ids": inputs["input_ids"],
        "attention_mask": mask,
        "decoder_input_ids": inputs["decoder_input_ids"],
    }


def _tokens(tokenizer: Any, indices: list[int]) -> list[str | None]:
    return [tokenizer.id_to_token(index) for index in indices]
