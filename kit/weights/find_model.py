"""Which model `--model` means: one of models/, a folder anywhere, a name of timm's, or a hub id."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from kit.errors import CannotRunError, UsageError
from kit.machine.variables import LIBRARIES, check_numbers
from kit.models.adapter import Adapter
from kit.models.declaration import CONFIG
from kit.models.derived import from_config, from_folder, from_timm_registry, read_describing
from kit.models.families.transformers_inputs import INPUT_FILES
from kit.models.known import default_model, find_adapter, is_misspelt, known_adapter

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# A page's address with the id in it, or an id with a slash or a revision behind it.
_AROUND_ID = re.compile(
    rf"(?:https?://)?(?:(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.cn/models)/)?"
    rf"({_HUB_ID.pattern})(?:/|@.*|/(?:tree|blob|resolve)/.*)?"
)
# Small files of a repository that is not in the cache: as long as a person waits for an answer.
_SECONDS = 120.0


def find_model(
    wanted: str | None,
    *,
    offline: bool,
    mirrors: tuple[str, ...],
    log: Callable[[str], None],
    revision: str | None = None,
) -> Adapter:
    """The adapter of what the user named; None is the default model.

    `revision` is of its repository; None is the declared commit, else main. A declared model at another
    commit is what that commit's own config says. Raises UsageError where nothing is called so, a
    folder's files are damaged, or a folder is given a revision; UnsupportedError for an architecture
    that the kit cannot run, CannotRunError where a repository's config is not to be had
    or the environment keeps a library from being imported.
    """
    check_numbers(*LIBRARIES)
    here = _without_repository(default_model() if wanted is None else wanted)
    if here is not None and revision in (None, here.info.revision):
        return here
    hub_id = str(wanted) if here is None else here.info.hub_id
    if not hub_id:
        raise UsageError(f"--revision {revision}: {wanted} is in no repository", "leave it out")
    return _of_repository(
        hub_id, offline=offline, mirrors=mirrors, log=log, revision=revision or "main"
    )


def _without_repository(wanted: str) -> Adapter | None:
    """The model of that name here, of a folder or of timm's registry; None for a hub id. Raises as
    find_model()."""
    if not wanted.strip():
        raise UsageError("--model is empty", "name a model or a folder, or leave it out")
    if (known := known_adapter(wanted)) is not None:
        return known
    if Path(wanted).is_dir():
        return from_folder(Path(wanted))
    if is_misspelt(wanted):
        return find_adapter(wanted)  # which says so
    if _HUB_ID.fullmatch(wanted):
        return None
    # A bare name: without an owner only timm's registry knows it.
    if re.fullmatch(r"\w[\w.]*", wanted):
        if (found := from_timm_registry(wanted)) is not None:
            return found
        if from_timm_registry(wanted.lower()) is not None:
            raise UsageError(f"unknown model {wanted!r}", f"did you mean {wanted.lower()}?")
    if (around := _AROUND_ID.fullmatch(wanted)) is not None:
        raise UsageError(
            f"unknown model {wanted!r}: a hub id is OWNER/NAME", f"did you mean {around[1]}?"
        )
    if Path(wanted).is_file():
        raise UsageError(
            f"unknown model {wanted!r}: it is a file",
            "give its folder, with config.json, and weights from elsewhere as --weights",
        )
    return find_adapter(wanted)  # which says that there is none


def _of_repository(
    hub_id: str,
    *,
    offline: bool,
    mirrors: tuple[str, ...],
    log: Callable[[str], None],
    revision: str,
) -> Adapter:
    """The model of a repository, by its own config at one commit; of timm's, else by its registry."""
    from kit.weights.repository import pin

    timm = from_timm_registry(hub_id) if hub_id.startswith("timm/") else None
    asked = timm.info.hub_id if timm else hub_id
    try:
        pinned = pin(
            asked,
            INPUT_FILES,
            revision=revision,
            offline=offline,
            mirrors=mirrors,
            timeout=_SECONDS,
            log=log,
        )
    except CannotRunError:
        if timm is None or revision != "main":
            raise
        return timm
    config = read_describing(pinned.files[CONFIG].path)
    return from_config(config, name=asked, hub_id=asked, revision=pinned.commit)
