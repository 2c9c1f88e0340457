"""Activations that are kept for later: in memory up to a limit, in a mapped file past it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import torch
from torch import Tensor

MEMORY_BYTES = 1 << 30


class Kept:
    """Tensors by key. Past `memory` bytes a tensor goes into a file of its own in `folder`, which is
    mapped: the system takes its pages out of memory when it needs them. The files end with the block."""

    def __init__(self, folder: Path, memory: int = MEMORY_BYTES) -> None:
        self._left = memory
        self._files = TemporaryDirectory(dir=folder, prefix=".activations-")
        self._tensors: dict[tuple[str, int, int], Tensor] = {}

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tensors.clear()
        self._files.cleanup()

    def keep(self, key: tuple[str, int, int], tensor: Tensor) -> None:
        """A CPU tensor, into which nothing is written afterwards."""
        size = tensor.numel() * tensor.element_size()
        self._left -= size
        if self._left >= 0 or not size:
            self._tensors[key] = tensor.detach()
            return
        path = str(Path(self._files.name) / str(len(self._tensors)))
        mapped = torch.from_file(path, shared=True, size=tensor.numel(), dtype=tensor.dtype)
        self._tensors[key] = mapped.view(tensor.shape).copy_(tensor)

    def get(self, key: tuple[str, int, int]) -> Tensor | None:
        """The tensor that was kept; None where there is none of that key."""
        return self._tensors.get(key)
