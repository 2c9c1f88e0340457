"""Reading a saved set of outputs, from anybody, and saying what a file is that is none."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kit.accuracy.spec import ROLES, OutputSpec, Role
from kit.errors import UsageError, shown, visible, words_of
from kit.storage.file_kinds import kind_of
from kit.storage.names import check_regular

if TYPE_CHECKING:
    from torch import Tensor

Outputs = dict[str, "Tensor"]
Roles = dict[str, OutputSpec]

# What to do about a file that is no set of outputs, by what it is.
_SAVE = "save the tensors with safetensors.torch.save_file"
_LOAD = "load it where you trust it, and save its tensors with safetensors.torch.save_file"
_CURES: dict[str, str] = {
    "empty": "save it again",
    "safetensors": "copy or save it again",
    "pickle": _LOAD,
    "npy": "save it as one tensor with safetensors.numpy.save_file",
    "npz": "save them with safetensors.numpy.save_file",
    "gguf": "save outputs, not weights",
    "onnx": "run it, and save its outputs",
    "hdf5": _LOAD,
}


def read_outputs(path: Path) -> tuple[Outputs, Roles]:
    """The memory-mapped tensors of a file, and the roles in its metadata. Raises UsageError."""
    from safetensors import safe_open

    try:
        check_regular(path)  # opening a pipe or a device may never return
    except OSError as error:
        raise _refused(path, error) from error
    import torch  # noqa: F401  (safe_open would import it: what it raises is no file's fault)

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get(ROLES, "{}")
    except Exception as error:  # whatever a foreign file makes of the library
        raise _refused(path, error) from error
    try:
        return tensors, _roles(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = visible(str(error))[:200]
        raise UsageError(
            f"{shown(path)}: its {ROLES} are damaged ({why})", "save it again"
        ) from error


def _roles(found: Any) -> Roles:
    # Only the role, never thresholds: a file does not say how strictly it is judged.
    if not isinstance(found, Mapping):
        raise ValueError("they are no object")
    for name, spec in found.items():
        role, scores = spec["role"], spec["scores"]
        if not isinstance(role, str) or role not in get_args(Role):
            raise ValueError(f"there is no role {role!r}, of {name!r}"[:150])
        if scores is not None and not isinstance(scores, str):
            raise ValueError(f"the scores of {name!r} have no name"[:150])
    return {
        name: OutputSpec(role=spec["role"], scores=spec["scores"]) for name, spec in found.items()
    }


def _refused(path: Path, error: Exception) -> UsageError:
    """Why the file could not be read; `error` is the library's own word."""
    if not os.path.exists(path):  # noqa: PTH110  (a name that is too long is no error to it)
        what = f"{shown(path)[:300]} is no readable safetensors file: there is no such file"
        return UsageError(what, "name one that is there")
    if path.is_dir():
        return UsageError(f"{shown(path)} is a folder", "name a safetensors file in it")
    try:
        check_regular(path)
    except OSError as other:
        return UsageError(f"{shown(path)}: {words_of(other)}", "name a safetensors file")
    try:
        kind = kind_of(path)
    except OSError as unreadable:
        what = f"{shown(path)} cannot be read ({words_of(unreadable)})"
        return UsageError(what, "check its permissions")
    words = visible(str(error))[:200]
    what = f"{shown(path)} is no readable safetensors file but {kind.words} ({words})"
    return UsageError(what, kind.cure or _CURES.get(kind.code, _SAVE))
