"""Turn a pickle of tensors into a safetensors file: python -m kit.weights.pickle_child IN OUT ORIGIN BYTES

It runs in a process of its own, under limits that it sets itself before it reads anything, because even
torch's restricted unpickler is fed a foreign file: `weights_only` allows tensors and plain containers and
no code. ORIGIN goes into the file's metadata; BYTES is the address space that it may take beyond torch's.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from typing import Any

# Where trainers keep the tensors among other things: timm, Lightning, torch hub.
_NESTED = ("state_dict", "model", "model_state_dict", "module")


def main(source: str, target: str, origin: str, limit: int) -> None:
    """Read, flatten and write. Ends with an exception's text where the file is no set of tensors."""
    _limit(limit)
    import torch
    from safetensors.torch import save_file

    loaded = torch.load(source, map_location="cpu", weights_only=True)
    # Each a copy of its own: safetensors stores no tensor that shares another's memory, or has strides.
    tensors = {name: each.detach().contiguous().clone() for name, each in _tensors(loaded).items()}
    save_file(tensors, target, metadata={"format": "pt", "converted_from": origin})


def _tensors(loaded: Any) -> Mapping[str, Any]:
    """The tensors by name. Raises ValueError where there are other things among them."""
    import torch

    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}, not tensors by name")
    nested = [name for name in _NESTED if isinstance(loaded.get(name), Mapping)]
    if nested:
        loaded = loaded[nested[0]]
    other = [name for name, each in loaded.items() if not isinstance(each, torch.Tensor)]
    if other or not loaded:
        raise ValueError(f"it holds other things than tensors: {', '.join(map(str, other[:3]))}")
    return {str(name): each for name, each in loaded.items()}


def _said(error: Exception) -> str:
    """The error's words, without torch's advice to open a file that it refuses with fewer restrictions."""
    if not isinstance(error, pickle.UnpicklingError):
        return str(error)
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition(". ")[0]
    return "torch refuses it" if "weights_only" in said else said.partition("\n")[0]


def _limit(beyond: int) -> None:
    """No more memory, processor time, files or children than a conversion takes."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_AS, (8 << 30) + beyond),  # torch's libraries alone map some GB
        (resource.RLIMIT_CPU, 3600),
        (resource.RLIMIT_FSIZE, beyond),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 512),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(_said(error).split())[:300]}")
