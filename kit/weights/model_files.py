"""What the search for weights must know of a model: its files, their repository, and known hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class ModelFiles(Protocol):
    """What the search for weights must know of a model; an adapter's ModelInfo has it all.

    `published` maps file names to sha256 in hex. `companions` are files beside the `weights` that
    help but are not needed.
    """

    @property
    def hub_id(self) -> str:
        """OWNER/NAME on the hub."""

    @property
    def revision(self) -> str:
        """A full commit hash, else a branch."""

    @property
    def weights(self) -> str:
        """The safetensors file's name."""

    @property
    def companions(self) -> tuple[str, ...]:
        """Names of the files beside it."""

    @property
    def published(self) -> Mapping[str, str]:
        """Known hashes by file name."""


def in_repository(info: ModelFiles) -> bool:
    """Whether the files are of a repository; those of a model that is only in a folder name none."""
    return bool(info.hub_id or info.revision)


@dataclass(frozen=True, kw_only=True)
class RepositoryFiles:
    """The files of a model that has no adapter."""

    hub_id: str
    companions: tuple[str, ...]
    revision: str = "main"
    published: Mapping[str, str] = field(default_factory=dict)
    weights: str = "model.safetensors"
