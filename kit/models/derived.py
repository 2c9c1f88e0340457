"""A model without a folder of its own here: a rule derives its declaration from its config.

The rule knows two libraries: timm's config.json (its local-dir and hub format) and transformers' (as
save_pretrained writes it), and every name of timm's registry. What is derived is rebuilt from the same
config and the same three words, so a record that has them is enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from kit.errors import UsageError, words_of
from kit.models.adapter import Adapter
from kit.models.declaration import CONFIG, LONGEST_CONFIG_BYTES, read_config
from kit.models.families import FAMILIES
from kit.models.families.timm_image import published_as, registry_config, timm_info
from kit.models.families.transformers_config import check_config, declare, plain
from kit.models.families.transformers_inputs import INPUT_FILES
from kit.models.known import load_adapter, model_names
from kit.words import Reason


class Derived(Protocol):
    """The three words that a derived declaration holds beside its config."""

    @property
    def name(self) -> str:
        """What reports call the model."""

    @property
    def hub_id(self) -> str | None:
        """Its repository."""

    @property
    def revision(self) -> str | None:
        """The commit, or main."""


def from_folder(folder: Path) -> Adapter:
    """The model of a folder as save_pretrained or timm's local-dir writes it, with what else is in it.

    Raises UsageError where it holds no config of either library, UnsupportedError for code of its own.
    """
    config = read_describing(folder / CONFIG)
    return from_config(config, name=folder.resolve().name, own_folder=folder)


def from_config(
    config: bytes,
    *,
    name: str,
    hub_id: str = "",
    revision: str = "",
    own_folder: Path | None = None,
) -> Adapter:
    """The model that a config.json is of. Raises UsageError, UnsupportedError."""
    document = read_config({CONFIG: config})
    if isinstance(document.get("architecture"), str):
        published = document.get("pretrained_cfg", document)
        told = published.get("license") if isinstance(published, dict) else None
        info = timm_info(
            hub_id,
            document["architecture"],
            revision=revision,
            license=told if isinstance(told, str) else None,
            name=name,
        )
    else:
        document = plain(check_config(document))
        info = declare(
            document, name=name, hub_id=hub_id, revision=revision, companions=INPUT_FILES
        )
    if not hub_id:  # a folder's model: a repository's own hub says what its files are
        info = replace(info, published=_published_with(document))
    assert info.family is not None
    # Written anew: what is left out (a path of the machine that saved it) stands in no record.
    files = {CONFIG: (json.dumps(document, indent=2) + "\n").encode("utf-8")}
    return FAMILIES[info.family](info, files, own_folder=own_folder)


def _published_with(document: Mapping[str, Any]) -> Mapping[str, str]:
    """The published hashes of the model of this checkout that has this config; none where none has."""
    for name in model_names():
        try:
            known = load_adapter(name)
            if plain(read_config(known.files)) == document:
                return known.info.published
        except UsageError:
            continue  # a broken folder is no reason not to run another model
    return {}


def from_timm_registry(wanted: str) -> Adapter | None:
    """The timm model of a name or hub id, with or without the tag of its weights; None where timm has
    no such name. Needs no network: input size and preprocessing are the registry's."""
    owner, _, name = wanted.rpartition("/")
    if owner not in ("", "timm") or (hub_id := published_as(name)) is None:
        return None
    config = registry_config(name)
    return from_config(
        config, name=hub_id or name, hub_id=hub_id, revision="main" if hub_id else ""
    )


def rebuilt(config: bytes, said: Derived) -> Adapter:
    """The adapter of a config that lies in a record, and of what the record says of it; whether that is
    all that the rule says is for the caller to check. Raises UsageError, UnsupportedError."""
    return from_config(
        config, name=said.name, hub_id=said.hub_id or "", revision=said.revision or ""
    )


# What other libraries' folders have, and what those are.
_OTHERS = {
    "adapter_config.json": ("a_peft_adapter", "merge_adapter"),
    "model_index.json": ("a_pipeline", "give_one_of_it"),
    "modules.json": ("sentence_modules", "give_one_of_it"),
}


def _without(path: Path) -> UsageError:
    """What to say of a folder without the config `path`: what else it is, as far as that is known."""
    folder = str(path.parent)
    for other, (what, cure) in _OTHERS.items():
        if (path.parent / other).is_file():
            known = Reason(
                "folder_of_other", folder=folder, file=path.name, other=other, what=Reason(what)
            )
            return UsageError(known, Reason(cure))
    return UsageError(
        Reason("folder_without", folder=folder, file=path.name), Reason("give_saved_folder")
    )


def read_describing(path: Path) -> bytes:
    """The bytes of a config.json. Raises UsageError where there is none, or one too long to be one."""
    try:
        if path.stat().st_size > LONGEST_CONFIG_BYTES:
            raise UsageError(Reason("not_a_config", file=str(path)), Reason("fetch_again"))
        return path.read_bytes()
    except FileNotFoundError:
        raise _without(path) from None
    except OSError as error:
        raise UsageError(
            Reason("file_unread", file=str(path), said=words_of(error)),
            Reason("name_other_folder"),
        ) from error
