"""What the kit asks of a model: an adapter is a family applied to a declaration.

An adapter only answers: how its architecture is built, what it is fed and which outputs one forward
gives. It never touches argv, devices, files under logs/ or logging. This module and every family stay
light to import (torch and the model libraries are imported inside methods), so that `--help` and most
argument errors need none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from kit.accuracy.spec import OutputSpec
from kit.documented import written
from kit.errors import UsageError
from kit.models.declaration import ModelInfo
from kit.storage.file_kinds import WEIGHT_SUFFIXES
from kit.storage.hashes import sha256_of_bytes
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

SampleKind = Literal["images", "texts"]
Attention = Literal["eager", "sdpa"]
"""transformers' implementations of attention that run on any device, by its names."""


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """One input: `tensors` by forward argument name (CPU), and how the record describes it."""

    tensors: Mapping[str, Tensor]
    description: str
    input_tokens: int | None = None
    decoder_input: list[list[int]] | None = None


class Adapter(ABC):
    """One model. Families in kit/models/families/ answer for whole libraries; a models/<name>/adapter.py
    for what no family knows.

    `files` are the model's describing files (config.json, ...) by name. `folder` is its folder under
    models/, None for a model without one; `own_folder` the user's own folder, where it came from one.
    """

    # The output that the headline figures are of, and every output; unknown (None, empty) until the model
    # has run where the declaration is derived: with_outputs().
    primary: str | None
    outputs: Mapping[str, OutputSpec]
    # What --data is: a folder of images, which are stacked, or a file of texts, which go one at a time;
    # load_input() takes each. None: this model has no use for it.
    samples: SampleKind | None = None
    # What build() takes; None: what the library chooses, or a library without a choice.
    attention: Attention | None = None

    def __init__(
        self,
        info: ModelInfo,
        files: Mapping[str, bytes],
        *,
        folder: Path | None = None,
        own_folder: Path | None = None,
    ) -> None:
        self.info = info
        self.files = files
        self.folder = folder
        self.own_folder = own_folder

    @property
    def weights_at(self) -> Path | None:
        """The user's own folder, where that holds weights."""
        inside = self.own_folder.iterdir() if self.own_folder else ()
        found = any(set(path.suffixes) & {*WEIGHT_SUFFIXES} for path in inside)
        return self.own_folder if found else None

    @property
    def tied(self) -> Mapping[str, str]:
        """state_dict aliases that share another tensor's storage: {alias: the published name}; empty
        where the declaration does not say, for they can be found in what build() gives."""
        return self.info.tied

    @property
    def place(self) -> Path:
        """The model's folder under models/. Raises UsageError for a model without one."""
        if self.folder is None:
            raise UsageError(
                Reason("no_model_folder", name=self.info.name), Reason("new_writes_one")
            )
        return self.folder

    @abstractmethod
    def check_input(self, value: str | None) -> None:
        """Raise UsageError where `--input VALUE` cannot be this model's input. Cheap: no torch."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The architecture in eval mode: parameters on the meta device, buffers with their values."""

    def with_attention(self, wanted: Attention) -> Self:
        """The adapter that builds with this implementation of attention. Raises UsageError where the
        model's library has no choice of it."""
        raise UsageError(
            Reason("no_attention_choice", wanted=wanted, library=self.info.library),
            Reason("leave_out"),
        )

    def as_built(self, model: nn.Module) -> Self:
        """The adapter that declares what the library chose in building `model`, which build() gave."""
        return self

    @abstractmethod
    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """The input tensors on the CPU; None is the bundled default.

        Raises UsageError for a bad value, CannotRunError where a companion file it needs is absent.
        """

    def traced(self, model: nn.Module, chosen: ModelInput) -> ModelInput:
        """The input with what the loaded model itself adds to it on the CPU, before it is moved: of one
        that generates text, the tokens that every device is then given step by step."""
        return chosen

    @abstractmethod
    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The one forward that is timed and compared; its outputs include the primary one."""

    def further_outputs(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs of further passes that are compared but not timed (teacher forcing, generate)."""
        return {}

    def every_output(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is compared: of the timed forward, and of the further passes."""
        return {**self.forward(model, inputs), **self.further_outputs(model, inputs)}

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """What the outputs say in words, for the record: generated text, top-5 classes."""
        return {}

    def with_outputs(self, shapes: Mapping[str, Sequence[int]]) -> Self:
        """The adapter that declares the outputs of these names and shapes, as the model gave them.

        Most declare their outputs beforehand, and this returns them as they are.
        """
        return self


def describe_model(adapter: Adapter) -> dict[str, Any]:
    """The record's model section: what the adapter declares."""
    info = adapter.info
    declared = "vendor task pipeline_tag library license architecture source_url"
    described = {
        "adapter": adapter.folder.name if adapter.folder else None,
        "name": info.name,
        "hub_id": info.hub_id or None,
        "revision": info.revision or None,
        **{name: getattr(info, name) for name in declared.split()},
        "primary_output": adapter.primary,
        "outputs": {name: written(spec) for name, spec in adapter.outputs.items()},
        "attention": adapter.attention,
    }
    if adapter.folder is None:
        described["files"] = {
            name: sha256_of_bytes(content) for name, content in adapter.files.items()
        }
    return described
