"""Adapters that serve whole libraries; a declaration fills in the blanks."""

from __future__ import annotations

from collections.abc import Mapping

from kit.models.adapter import Adapter
from kit.models.families.sentence_embedding import SentenceEmbedding
from kit.models.families.seq2seq_text import Seq2SeqText
from kit.models.families.timm_image import TimmImage
from kit.models.families.transformers_model import TransformersModel

# By the name that a declaration uses.
FAMILIES: Mapping[str, type[Adapter]] = {
    "sentence_embedding": SentenceEmbedding,
    "seq2seq_text": Seq2SeqText,
    "timm_image": TimmImage,
    "transformers": TransformersModel,
}
