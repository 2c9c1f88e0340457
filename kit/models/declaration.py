"""What a model says of itself: data, written by hand in models/<name>/model.toml or derived by a rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from kit.errors import UsageError
from kit.storage.file_kinds import why_no_json
from kit.storage.hashes import is_git_sha1, is_sha256
from kit.words import Reason

DECLARATION = "model.toml"
# The small files beside it that say how the model is built. A model without a folder keeps these in its
# evidence, and nothing else: with the weights they are the model.
CONFIG = "config.json"
GENERATION = "generation_config.json"
DESCRIBING = (CONFIG, GENERATION)
# A config is a page of text; megabytes of it are no config.
LONGEST_CONFIG_BYTES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The declaration of a model.

    `family` is one of kit/models/families, None where the model's own adapter.py takes its place.
    `published` maps each published file's name to its sha256 (hex) at `revision`; the weights file is
    `weights`. `companions` are small files that help but are not needed (a tokenizer). `parameters`
    and `tensors` count the published state_dict; None where nobody has published them. `tied` are
    state_dict aliases that share another tensor's storage, {alias: the published name}; empty
    where they are to be found in the model as it is built. `options` are the family's own. `hub_id` and
    `revision` are empty for a model that is in no repository, only in a folder. Who made it, its licence
    and the hub's name for its task are None where nothing says so.
    """

    name: str
    hub_id: str
    revision: str
    vendor: str | None = None
    task: str
    pipeline_tag: str | None = None
    library: str
    license: str | None = None
    architecture: str
    family: str | None = None
    parameters: int | None = None
    tensors: int | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[str, ...] = ()
    weights: str = "model.safetensors"
    tied: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source_url(self) -> str | None:
        """The model's page on the hub; None where it is in no repository."""
        return f"https://huggingface.co/{self.hub_id}" if self.hub_id else None


def read_declaration(text: str) -> ModelInfo:
    """The declaration that the text of a model.toml holds. Raises ValueError, saying what is wrong."""
    import tomllib

    document = tomllib.loads(text)
    known = {each.name for each in fields(ModelInfo)}
    if unknown := sorted(document.keys() - known):
        raise ValueError(f"{unknown[0]!r} is no field of a declaration")
    info = msgspec.convert(document, ModelInfo)
    if not is_git_sha1(info.revision) and (info.hub_id or info.revision):
        raise ValueError("the revision must be a commit of 40 hex digits")
    for file, digest in info.published.items():
        if not is_sha256(digest):
            raise ValueError(f"the sha256 of {file} must be 64 hex digits")
    return info


def read_config(files: Mapping[str, bytes], name: str = CONFIG) -> dict[str, Any]:
    """A describing file as JSON. Raises UsageError where it is missing or no JSON object."""
    if name not in files:
        raise UsageError(Reason("no_description", file=name), Reason("add_own"))
    try:
        document = json.loads(files[name])
        if not isinstance(document, dict):
            raise TypeError("it is no JSON object")
    except (ValueError, TypeError, RecursionError) as error:
        what, cure = why_no_json(files[name], error)
        raise UsageError(Reason("of_file", file=name, what=what), cure) from error
    return document
