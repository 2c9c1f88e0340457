"""The published hashes that the kit knows: those of every declaration."""

from __future__ import annotations

from dataclasses import replace

from kit.models.known import load_adapter, model_names
from kit.weights.model_files import ModelFiles, RepositoryFiles

# What transformers, timm and tokenizers read beside the weights, as far as a repository has it.
COMPANIONS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "vocab.txt",
)


def known_models() -> dict[str, ModelFiles]:
    """Every model with published hashes, by hub id; they have their home in its declaration."""
    return {info.hub_id: info for info in (load_adapter(name).info for name in model_names())}


def complete_files(hub_id: str, revision: str | None = None) -> ModelFiles:
    """The weights and all that is read beside them, with every hash that is known of the revision; None is
    the published one, or main."""
    known = known_models().get(hub_id)
    if known is not None and revision not in (None, known.revision):
        known = None  # the published hashes are of another commit
    files = RepositoryFiles(hub_id=hub_id, companions=COMPANIONS, revision=revision or "main")
    if known is None:
        return files
    beside = (*known.published, *known.companions, *COMPANIONS)
    return replace(
        files,
        revision=known.revision,
        weights=known.weights,
        published=known.published,
        companions=tuple(dict.fromkeys(name for name in beside if name != known.weights)),
    )
