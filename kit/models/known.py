"""The models of this checkout, by name, hub id or folder: one folder of models/ each."""

from __future__ import annotations

import importlib
from pathlib import Path

import models
from kit.errors import UsageError, named
from kit.models.adapter import Adapter
from kit.models.declaration import DECLARATION, DESCRIBING, ModelInfo, read_declaration
from kit.models.families import FAMILIES
from kit.words import Reason

MODELS_ROOT = Path(models.__file__).resolve().parent


def model_names() -> list[str]:
    """The models of this checkout: every folder of models/ that has a declaration."""
    return sorted(path.parent.name for path in MODELS_ROOT.glob(f"*/{DECLARATION}"))


def default_model() -> str:
    """The model taken when none is named: models.DEFAULT where it is here, else the only one."""
    names = model_names()
    if not names:
        raise UsageError(f"no model in {MODELS_ROOT.name}/", "see README.md, 'Add a model'")
    return models.DEFAULT if models.DEFAULT in names else names[0]


def load_adapter(name: str) -> Adapter:
    """The model of models/<name>/ of this checkout; its adapter.py, where there is one, is imported.

    Raises UsageError where `name` is not one of model_names(): no other text is ever imported.
    """
    if name not in model_names():
        raise unknown_model(name)
    folder = MODELS_ROOT / name
    file = DECLARATION
    try:
        info = read_declaration((folder / DECLARATION).read_text("utf-8"))
        if info.family is None:
            file = "adapter.py"
        files = {
            each: (folder / each).read_bytes() for each in DESCRIBING if (folder / each).is_file()
        }
        adapter: Adapter = _class_of(name, info)(info, files, folder=folder)
    except Exception as error:  # whatever a developer's file raises
        raise UsageError(
            Reason("file_of_no_use", file=f"models/{name}/{file}", said=named(error)),
            Reason("correct_it"),
        ) from error
    return adapter


def find_adapter(wanted: str | None) -> Adapter:
    """The adapter for NAME, HUB_ID, or a folder of this checkout's models/; None is the default.

    Raises UsageError with a suggestion for anything else.
    """
    if (adapter := known_adapter(default_model() if wanted is None else wanted)) is None:
        raise unknown_model(str(wanted))
    return adapter


def known_adapter(wanted: str) -> Adapter | None:
    """The adapter for NAME, HUB_ID, or a folder of this checkout's models/; None for anything else."""
    if wanted in model_names():
        return load_adapter(wanted)
    if (folder := Path(wanted).resolve()).parent == MODELS_ROOT:
        return load_adapter(folder.name)
    for name in model_names():
        try:
            adapter = load_adapter(name)
        except UsageError:
            continue  # a broken folder must not stop the search for another
        # A hub id may leave out the timm tag: timm/vit_tiny_patch16_224 is ...augreg_in21k_ft_in1k.
        if wanted in (adapter.info.hub_id, adapter.info.hub_id.partition(".")[0]):
            return adapter
    return None


def is_misspelt(wanted: str) -> bool:
    """Whether one letter makes `wanted` the name of a model of this checkout."""
    return _nearest(wanted) is not None


def unknown_model(wanted: str) -> UsageError:
    """What to say of a model that nobody knows: the name that one letter makes of it, or all of them."""
    close = _nearest(wanted)
    known = close or f"one of {', '.join(model_names())}"
    hints = [f"did you mean {close}?"] if close else []
    if wanted.startswith((".", "/", "~")) or wanted.endswith("/"):
        hints.insert(0, "there is no such folder")
    return UsageError(
        f"unknown model {wanted!r}{': ' if hints else ''}{', '.join(hints)}",
        f"give {known}, a hub id, a name of timm's, or a folder with a config.json and weights",
    )


def _nearest(wanted: str) -> str | None:
    """More letters apart is another architecture as often as not: DeiT for ViT, base for small."""
    spelled = wanted.lower().replace("-", "_")
    for name in model_names():
        known = name
        if "/" in wanted:
            known = load_adapter(name).info.hub_id.partition(".")[0].lower().replace("-", "_")
        elif name.startswith(f"{spelled}_"):
            return name
        if _one_letter_apart(spelled, known):
            return name
    return None


def _one_letter_apart(one: str, other: str) -> bool:
    import difflib

    changes = [
        (right - left, below - above)
        for tag, left, right, above, below in difflib.SequenceMatcher(
            None, one, other
        ).get_opcodes()
        if tag != "equal"
    ]
    return len(changes) == 1 and max(changes[0]) == 1


def _class_of(name: str, info: ModelInfo) -> type[Adapter]:
    """The declared family, else the class that the model's own adapter.py calls ADAPTER."""
    if info.family is not None:
        return FAMILIES[info.family]
    own: type[Adapter] = importlib.import_module(f"models.{name}.adapter").ADAPTER
    return own
