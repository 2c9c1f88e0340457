"""What a library does with the names of a checkpoint: its own renames and conversions, followed.

A checkpoint may be older than the library that reads it, or of the same architecture with another head:
transformers keeps a mapping for each model type and adds or takes the base model's prefix, timm has a
function beside each architecture. What they give is compared with what went in, tensor by tensor, so
that nothing is renamed, made or dropped unseen.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.errors import UsageError
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The checkpoint's tensors under the library's names.

    `sources` are the names in the file that each tensor was made of: one name where it is the file's own
    bytes, several or a tensor of new bytes where the library converts (`converted`).
    """

    tensors: Mapping[str, Tensor]
    sources: Mapping[str, tuple[str, ...]]
    converted: frozenset[str]


def library_of(model: nn.Module) -> str:
    """ "transformers", "timm" or the name of whatever package the model's class is of."""
    classes = [each.__module__.partition(".")[0] for each in type(model).__mro__]
    return next((name for name in classes if name in ("transformers", "timm")), classes[0])


def follow(model: nn.Module, tensors: Mapping[str, Tensor]) -> Followed:
    """The tensors of a file as the model's library would name them. Raises UsageError where it cannot."""
    library = library_of(model)
    stored = model.state_dict()
    if all(name in stored and stored[name].shape == each.shape for name, each in tensors.items()):
        return _unchanged(
            tensors
        )  # what today's library writes: transformers' mapping takes 0.25 s
    try:
        if library == "transformers":
            return _transformers(model, tensors)
        if library == "timm" and tensors.keys() != stored.keys():
            return _timm(model, tensors)
    except Exception as error:  # whatever a foreign file makes of a library's own code
        raise UsageError(
            Reason(
                "conversion_failed", library=library, kind=type(error).__name__, said=str(error)
            ),
            Reason("give_weights"),
        ) from error
    return _unchanged(tensors)


def _unchanged(tensors: Mapping[str, Tensor]) -> Followed:
    return Followed(
        tensors=tensors, sources={name: (name,) for name in tensors}, converted=frozenset()
    )


def _transformers(model: nn.Module, tensors: Mapping[str, Tensor]) -> Followed:
    try:
        from transformers import core_model_loading
    except ImportError:  # 4.x
        return _renamed(_old_names(model, list(tensors)), tensors)
    from transformers.conversion_mapping import get_model_conversion_mapping

    transforms = get_model_conversion_mapping(model)
    converters = [
        each for each in transforms if isinstance(each, core_model_loading.WeightConverter)
    ]
    renamings = [each for each in transforms if each not in converters]
    known = model.state_dict()
    prefix = model.base_model_prefix
    names: dict[str, str] = {}
    calls: dict[str, Any] = {}
    for name in sorted(tensors, key=core_model_loading.dot_natural_key):
        new, pattern = core_model_loading.rename_source_key(
            name, renamings, converters, prefix, known
        )
        if new not in known and name in known:  # from_pretrained's own second look
            new, pattern = core_model_loading.rename_source_key(name, [], [], prefix, known)
        if pattern is None or new not in known:
            names[name] = new
            continue
        owner = next(each for each in converters if pattern in each.source_patterns)
        call = calls.setdefault(new, deepcopy(owner))
        call.add_tensor(new, name, pattern, tensors[name])
    followed = _renamed(names, tensors)
    made, sources = dict(followed.tensors), dict(followed.sources)
    converted = set()
    for first, call in calls.items():
        used = tuple(sorted({name for group in call.layer_targets.values() for name in group}))
        for name, tensor in call.convert(first, model=model, config=model.config).items():
            made[name] = (tensor[0] if isinstance(tensor, list) else tensor).contiguous()
            sources[name] = used
            converted.add(name)
    return Followed(tensors=made, sources=sources, converted=frozenset(converted))


def _old_names(model: Any, names: list[str]) -> Mapping[str, str]:
    """transformers 4: what from_pretrained() itself asks of the model."""
    prefix = model.base_model_prefix
    has = bool(prefix) and any(name.startswith(prefix) for name in names)
    expects = bool(prefix) and hasattr(model, prefix)
    mapping: Mapping[str, str] = model._get_key_renaming_mapping(
        names,
        getattr(model, "_checkpoint_conversion_mapping", None),
        loading_base_model_from_task_state_dict=has and not expects,
        loading_task_model_from_base_state_dict=expects and not has,
    )
    return {name: mapping.get(name, name) for name in names}  # it leaves out what it does not load


def _renamed(names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Followed:
    sources: dict[str, tuple[str, ...]] = {}
    for old, new in names.items():
        if new in sources:
            raise ValueError(f"{sources[new][0]} and {old} are both {new}")
        sources[new] = (old,)
    return Followed(
        tensors={new: tensors[old] for old, new in names.items()},
        sources=sources,
        converted=frozenset(),
    )


def _timm(model: nn.Module, tensors: Mapping[str, Tensor]) -> Followed:
    """timm's filter of the architecture's own file, by the one name that all of them have."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return _unchanged(tensors)
    made: Mapping[str, Tensor] = convert(dict(tensors), model)
    by_bytes = {_bytes_of(tensor): name for name, tensor in tensors.items()}
    same = {name: by_bytes.get(_bytes_of(tensor)) for name, tensor in made.items()}
    left = [name for name in tensors if name not in same.values()]
    converted = frozenset(name for name, source in same.items() if source is None)
    if converted:  # from which of those that are left is timm's own affair
        sources = {name: (source,) if source else tuple(left) for name, source in same.items()}
        return Followed(tensors=made, sources=sources, converted=converted)
    # What timm's function leaves out stays unexpected, to be looked at like any other tensor.
    return Followed(
        tensors={**made, **{name: tensors[name] for name in left}},
        sources={name: (source or name,) for name, source in same.items()}
        | {name: (name,) for name in left},
        converted=converted,
    )


def _bytes_of(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...], Any]:
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype
