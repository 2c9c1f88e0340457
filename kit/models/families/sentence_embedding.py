"""transformers encoders whose result is one vector a sentence, as sentence-transformers makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from kit.accuracy.spec import OutputSpec
from kit.models.adapter import ModelInput
from kit.models.declaration import ModelInfo
from kit.models.families.tokenizer import proven_tokenizer
from kit.models.families.transformers_model import TransformersModel

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a declaration says to this family: a text, its ids by the model's own tokenizer, and after how
    many tokens the model's authors cut a text."""

    default_text: str
    default_ids: list[int]
    most_tokens: int


class SentenceEmbedding(TransformersModel):
    """An encoder, the mean of its last hidden state over the sentence's tokens, scaled to length 1.

    That is sentence-transformers' Pooling (mean tokens) and Normalize. The default text needs no
    tokenizer file.
    """

    def __init__(self, info: ModelInfo, files: Mapping[str, bytes], **places: Path | None) -> None:
        super().__init__(info, files, **places)
        self._options = msgspec.convert(info.options, Options)
        self.primary = "sentence_embedding"
        names = (self.primary, "last_hidden_state", "pooler_output")
        self.outputs = {name: OutputSpec(role="features") for name in names}

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """`input_ids` and `attention_mask` int64 [1, tokens], without padding."""
        import torch

        options = self._options
        ids = options.default_ids
        if value is not None:
            tokenizer = proven_tokenizer(
                companions,
                options.default_text,
                options.default_ids,
                source_url=self.info.source_url,
                most_tokens=options.most_tokens,
            )
            ids = tokenizer.encode(value).ids
        return ModelInput(
            tensors={
                "input_ids": torch.tensor([ids]),
                "attention_mask": torch.ones((1, len(ids)), dtype=torch.int64),
            },
            description=options.default_text if value is None else value,
            input_tokens=len(ids),
        )

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`sentence_embedding` [batch, width] beside what the encoder gives."""
        import torch

        outputs = super().forward(model, inputs)
        hidden = outputs["last_hidden_state"]
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        # Both floors are sentence-transformers' and torch's own.
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return {"sentence_embedding": torch.nn.functional.normalize(mean, dim=1), **outputs}

    def with_outputs(self, shapes: Mapping[str, Sequence[int]]) -> Self:
        """The adapter as it is: its outputs are declared."""
        return self
