"""From the tensors of a file to those of a model, every one of both accounted for.

A tensor of the file is loaded under its own name or the library's new one, or is legacy (the library no
longer stores it but builds the same values), or belongs to a part that this architecture does not build.
A tensor of the model comes from the file, shares another one's storage, or is of a head that the file does
not carry. Everything else is a file of another model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from kit.documented import Documented, says
from kit.errors import UsageError, shown
from kit.weights.legacy import legacy_value, same_buffer
from kit.weights.library_names import follow
from kit.weights.model_parts import buffers_built, is_head, is_part_not_built, shared_names
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn


class Account(Documented, frozen=True, kw_only=True):
    """What became of every tensor of the loaded files, and where the model's others came from."""

    dtypes: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        says("Tensors of the files by dtype, such as float16; the run may cast them."),
    ]
    renamed: Annotated[
        dict[str, str],
        says("Tensors with another name in the library than in the file: {file's: library's}."),
    ]
    converted: Annotated[
        dict[str, list[str]],
        says("Tensors that the library makes of others: {library's name: names in the file}."),
    ]
    legacy: Annotated[
        dict[str, str],
        says(
            "Tensors of the file that the library no longer loads but builds itself, each with "
            "what its values were found to be."
        ),
    ]
    unused: Annotated[
        list[str], says("Tensors of the file of a part that this architecture does not build.")
    ]
    initialised: Annotated[
        list[str],
        says("Tensors of the model that no file carries (a head), random by arguments.seed."),
    ]
    nonfinite: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        says(
            "Elements of the files that are NaN or infinite, by the library's name of the tensor."
        ),
    ]
    tied: Annotated[
        dict[str, str], says("Names that share another's storage: {alias: the loaded name}.")
    ]


def random_heads(account: Account) -> list[str]:
    """The initialised tensors that have values: BatchNorm's counts are 0, and inference reads none."""
    return [name for name in account.initialised if not name.endswith("num_batches_tracked")]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """`tensors` are the file's by the model's names, without aliases; those that are bytes of the file as
    they stand have their name there in `names`."""

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    account: Account


def fit(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    tied: Mapping[str, str],
    *,
    file: str,
    complete: bool,
) -> Fit:
    """Give every tensor of the file its place in the model.

    `tied` are the declared aliases; where there are none, parameters that the model shares are found.
    `complete`: the file is known to carry every head. Raises UsageError where a tensor of either has no
    place: `file` is the name that the message has.
    """
    followed = follow(model, tensors)
    given = dict(followed.tensors)
    aliases = dict(tied) or _untie(model, given)
    like = {name: each for name, each in model.state_dict().items() if name not in aliases}
    legacy, unused, unexpected = _left_over(model, given, like)
    missing = {name for name in like if name not in given}
    initialised = (
        [] if complete else [name for name in like if name in missing and is_head(model, name)]
    )
    lacking = missing - {*initialised}
    if lacking and (prefix := _foreign_prefix(tensors, lacking)):
        raise UsageError(
            Reason("prefixed", file=file, prefix=shown(prefix)),
            Reason("save_without"),
        )
    _check_names(file, lacking, unexpected)
    tensors_of = {name: given[name] for name in like if name in given}
    _check_kinds(file, tensors_of, like)
    sources = {name: followed.sources[name] for name in tensors_of}
    plain = {name: old for name, (old, *_) in sources.items() if name not in followed.converted}
    return Fit(
        tensors=tensors_of,
        names=plain,
        account=Account(
            dtypes=Counter(str(each.dtype).removeprefix("torch.") for each in tensors.values()),
            renamed={old: new for new, old in plain.items() if old != new},
            converted={n: list(sources[n]) for n in sorted(followed.converted & sources.keys())},
            legacy={old: value for name, value in legacy.items() for old in followed.sources[name]},
            unused=[old for name in unused for old in followed.sources[name]],
            initialised=initialised,
            nonfinite={
                name: count for name, each in tensors_of.items() if (count := _nonfinite(each))
            },
            tied=aliases,
        ),
    )


def _untie(model: nn.Module, given: dict[str, Tensor]) -> dict[str, str]:
    """The aliases among names that share storage: {alias: the name that is loaded}.

    A file may carry the shared tensor under any of its names, or under several: one is loaded, and the
    others are aliases where their values are the same. Where they are not, the file has two tensors and
    they stay two, whatever the config says of tying (as transformers 5 does it).
    """
    import torch

    aliases = {}
    for group in shared_names(model):
        carried = [name for name in group if name in given]
        first = carried[0] if carried else group[0]
        for name in group:
            if name == first or (name in given and not torch.equal(given[name], given[first])):
                continue
            aliases[name] = first
            given.pop(name, None)
    return aliases


def _left_over(
    model: nn.Module, given: dict[str, Tensor], like: Mapping[str, Tensor]
) -> tuple[dict[str, str], list[str], list[str]]:
    """Of the tensors with no place: legacy ones with what they hold, parts not built, and the rest."""
    built = buffers_built(model)
    legacy, unused, unexpected = {}, [], []
    for name in [name for name in given if name not in like]:
        if value := legacy_value(name, given[name], built):
            legacy[name] = value
        elif not same_buffer(name, built) and is_part_not_built(model, name):
            unused.append(name)
        else:
            unexpected.append(name)
    return legacy, unused, unexpected


def _nonfinite(tensor: Tensor) -> int:
    """Elements that are no finite number; none in most tensors, which their extremes show in one pass."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return 0
    if all(bool(each.isfinite()) for each in torch.aminmax(tensor)):
        return 0
    return int((~tensor.isfinite()).sum())


def _foreign_prefix(names: Collection[str], missing: Collection[str]) -> str | None:
    """What all names of a file begin with, where without it they are those that the model misses."""
    prefix = next(iter(names), "").partition(".")[0] + "."
    only = all(name.startswith(prefix) for name in names)
    return prefix if only and all(prefix + name in names for name in missing) else None


def _check_names(file: str, missing: Collection[str], unexpected: Collection[str]) -> None:
    if missing or unexpected:
        parts = [
            f"{len(names)} {word} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
            for names, word in ((missing, "missing"), (unexpected, "unexpected"))
            if names
        ]
        raise UsageError(
            Reason("other_tensors", file=file, parts=" and ".join(parts)), Reason("give_weights")
        )


def _check_kinds(file: str, given: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """Raise UsageError for another shape, or for integers where the model has floats, or the reverse."""
    wrong = sorted(name for name in given if given[name].shape != like[name].shape)
    if wrong:
        name = wrong[0]
        raise UsageError(
            Reason(
                "other_shapes",
                file=file,
                count=len(wrong),
                name=name,
                given=str(list(given[name].shape)),
                wanted=str(list(like[name].shape)),
            ),
            Reason("give_weights"),
        )
    for name, tensor in given.items():
        if tensor.is_floating_point() and tensor.element_size() == 1:
            raise UsageError(
                Reason("quantised", file=file, name=name, dtype=str(tensor.dtype)),
                Reason("give_unquantised"),
            )
        if tensor.is_floating_point() != like[name].is_floating_point():
            raise UsageError(
                Reason(
                    "other_dtype",
                    file=file,
                    name=name,
                    dtype=str(tensor.dtype),
                    wanted=str(like[name].dtype),
                ),
                Reason("give_weights"),
            )
