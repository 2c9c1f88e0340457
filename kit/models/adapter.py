"""What a model must say of itself, and finding it by name or hub id.

An adapter only declares: what the model is, how its architecture is built, what it is fed and which
outputs one forward gives. It never touches argv, devices, files under logs/ or logging. This module
and every adapter stay light to import (torch and the model libraries are imported inside methods), so
that `--help`, argument errors and the search for weights need none of them.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import models
from kit.accuracy.spec import OutputSpec
from kit.documented import written
from kit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

SampleKind = Literal["images", "texts"]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The published facts of a model.

    `published` maps each published file's name to its sha256 (hex) at `revision`; the weights file is
    `weights`. `companions` are small files that help but are not needed (a tokenizer). `parameters`
    and `tensors` count the published state_dict.
    """

    name: str
    hub_id: str
    revision: str
    vendor: str
    task: str
    pipeline_tag: str
    library: str
    license: str
    architecture: str
    parameters: int
    tensors: int
    published: Mapping[str, str]
    companions: tuple[str, ...] = ()
    weights: str = "model.safetensors"

    @property
    def source_url(self) -> str:
        """The model's page on the hub."""
        return f"https://huggingface.co/{self.hub_id}"


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """One input: `tensors` by forward argument name (CPU), and how the record describes it."""

    tensors: Mapping[str, Tensor]
    description: str
    input_tokens: int | None = None
    decoder_input: list[list[int]] | None = None


class Adapter(ABC):
    """One model. Subclasses in models/<name>/adapter.py declare; families in kit/models/families/ do."""

    info: ClassVar[ModelInfo]
    primary: ClassVar[str]
    outputs: ClassVar[Mapping[str, OutputSpec]]
    # state_dict aliases that share another tensor's storage: {alias: the published name}.
    tied: ClassVar[Mapping[str, str]] = {}
    # What --data is: a folder of images, which are stacked, or a file of texts, which go one at a time;
    # load_input() takes each. None: this model has no use for it.
    samples: ClassVar[SampleKind | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def check_input(self, value: str | None) -> None:
        """Raise UsageError where `--input VALUE` cannot be this model's input. Cheap: no torch."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The architecture in eval mode from the bundled config, on the meta device, without weights."""

    @abstractmethod
    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """The input tensors on the CPU; None is the bundled default.

        Raises UsageError for a bad value, CannotRunError where a companion file it needs is absent.
        """

    @abstractmethod
    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The one forward that is timed and compared; its outputs include the primary one."""

    def further_outputs(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs of further passes that are compared but not timed (teacher forcing, generate)."""
        return {}

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """What the outputs say in words, for the record: generated text, top-5 classes."""
        return {}


MODELS_ROOT = Path(models.__file__).resolve().parent


def model_names() -> list[str]:
    """The models of this checkout: every folder of models/ that has an adapter."""
    return sorted(path.parent.name for path in MODELS_ROOT.glob("*/adapter.py"))


def default_model() -> str:
    """The model taken when none is named: models.DEFAULT where it is here, else the only one."""
    names = model_names()
    if not names:
        raise UsageError(f"no model in {MODELS_ROOT.name}/: see README.md, 'Add a model'")
    return models.DEFAULT if models.DEFAULT in names else names[0]


def load_adapter(name: str) -> Adapter:
    """Import models/<name>/adapter.py of this checkout and nothing else.

    Raises UsageError where `name` is not one of model_names(): no other text is ever imported.
    """
    if name not in model_names():
        raise UsageError(_unknown(name))
    try:
        adapter: Adapter = importlib.import_module(f"models.{name}.adapter").ADAPTER(
            MODELS_ROOT / name
        )
    except Exception as error:  # whatever a developer's file raises
        raise UsageError(
            f"models/{name}/adapter.py cannot be used ({type(error).__name__}: {error}): correct it"
        ) from error
    _check_evidence(name, adapter.info)
    return adapter


def find_adapter(wanted: str | None) -> Adapter:
    """The adapter for NAME, HUB_ID, or a folder of this checkout's models/; None is the default.

    Raises UsageError with a suggestion for anything else.
    """
    if wanted is None:
        return load_adapter(default_model())
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
    raise UsageError(_unknown(wanted))


def describe_model(adapter: Adapter) -> dict[str, Any]:
    """The record's model section: what the adapter declares."""
    info = adapter.info
    declared = (
        "name hub_id revision vendor task pipeline_tag library license architecture source_url"
    )
    return {
        "adapter": adapter.folder.name,
        **{name: getattr(info, name) for name in declared.split()},
        "primary_output": adapter.primary,
        "outputs": {name: written(spec) for name, spec in adapter.outputs.items()},
    }


def _check_evidence(name: str, info: ModelInfo) -> None:
    """Raise UsageError for a revision that is no commit or a hash that can be none."""
    wrong = [file for file, digest in info.published.items() if not _is_hex(digest, 64)]
    if not _is_hex(info.revision, 40):
        raise UsageError(
            f"models/{name}/adapter.py: the revision must be a commit of 40 hex digits"
        )
    if wrong:
        raise UsageError(
            f"models/{name}/adapter.py: the sha256 of {wrong[0]} must be 64 hex digits"
        )


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and set(text) <= set("0123456789abcdef")


def _unknown(wanted: str) -> str:
    import difflib

    names = model_names()
    # Hub ids and folders are compared by their last part, spelled as a folder of models/ would be.
    spelled = wanted.rstrip("/").rpartition("/")[2].lower().replace("-", "_")
    close = difflib.get_close_matches(spelled, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known models: {', '.join(names)}"
    return f"unknown model {wanted!r}: {hint} (to add one: README.md, 'Add a model')"
