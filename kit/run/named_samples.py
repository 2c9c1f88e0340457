"""Which samples --data names: the images of a folder, or the lines of a text file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import CannotRunError, KitError, UsageError, shown, some, visible
from kit.evidence.types.run import Run
from kit.models.adapter import Adapter
from kit.storage.names import check_regular, fits_a_record
from kit.weights.progress import counted
from kit.words import Reason

_WANTED = {
    "images": "a folder of images",
    "texts": "a text file (UTF-8) with one text a line",
}
_IMAGES = frozenset(".bmp .gif .jpeg .jpg .png .ppm .tif .tiff .webp".split())
_HOLDS = {
    "images": f"image itself (no name ends with {', '.join(sorted(_IMAGES))})",
    "texts": "line of text",
}

log = logging.getLogger("kit")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample: `name` is what records call it (a file's name, or `line 3`), `value` what the
    adapter's load_input() takes."""

    name: str
    value: str


def check_value(adapter: Adapter, value: str | None, option: str) -> None:
    """Raise UsageError, which begins with `option`, where the model does not take the value."""
    try:
        adapter.check_input(value)
    except UsageError as error:
        raise UsageError(
            Reason("of_option", option=option, what=error.reason), error.cure
        ) from error


def choose_samples(adapter: Adapter, data: Path | None, most: int | None) -> list[Sample]:
    """The samples of `data`, `most` of them at most, each checked; none without it. Cheap: no torch.

    Raises UsageError, naming the first sample that cannot be this model's input.
    """
    if data is None:
        if most is not None:
            raise UsageError(f"--samples {most} needs --data", "name that too")
        return []
    found = list_samples(adapter, data)
    if not fits_a_record(data.resolve().name):
        raise UsageError(f"--data {shown(data)}: no record can hold that name", "rename it")
    if adapter.samples == "images":
        _tell_left_out(data, found)
    chosen = found[:most]
    if most and len(chosen) < most:
        log.warning(f"--samples {most}: {data} holds {len(found)}; all are run")
    for sample in counted("checking samples", chosen, len(chosen), log.info):
        if not fits_a_record(sample.name):
            raise UsageError(
                f"--data {shown(data)}: no record can hold the name {shown(sample.name)}",
                "rename the file",
            )
        check_value(adapter, sample.value, f"--data {shown(data)}, {visible(sample.name)}:")
    return chosen


def list_samples(adapter: Adapter, data: Path) -> list[Sample]:
    """Every sample of `data`: the images of a folder by name, or the lines of a text file.

    Raises UsageError where it is not what the model takes, or holds nothing.
    """
    if adapter.samples is None:
        raise UsageError(f"--data: {adapter.info.name} declares no kind of samples", "leave it out")
    wanted, given = _WANTED[adapter.samples], f"--data {shown(data)}"
    if not data.exists():
        raise UsageError(f"{given}: there is no such path", f"give {wanted}")
    if data.is_dir() is not (adapter.samples == "images"):
        what = "a folder" if data.is_dir() else "no folder"
        raise UsageError(f"{given} is {what}, and {adapter.info.name} takes {wanted}", "give one")
    if not data.resolve().name:
        raise UsageError(f"{given}: the root has no name for a record", f"give {wanted} below it")
    try:
        found = _images(data) if adapter.samples == "images" else _lines(data)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{given} cannot be read ({error})", f"give {wanted}") from error
    if not found:
        raise UsageError(f"{given} holds no {_HOLDS[adapter.samples]}", f"give {wanted}")
    return found


def load_sample(adapter: Adapter, sample: Sample, companions: Mapping[str, Path]) -> dict[str, Any]:
    """The input tensors of one sample (CPU). Raises UsageError where it cannot be read (any more)."""
    try:
        return dict(adapter.load_input(sample.value, companions).tensors)
    except KitError:
        raise
    except Exception as error:  # Pillow raises others besides OSError on damaged files
        reason = str(error).replace(
            sample.value, sample.name
        )  # records hold no path of this machine
        raise UsageError(
            Reason("sample_unread", sample=sample.name, said=reason), Reason("save_again")
        ) from error


def find_samples_again(adapter: Adapter, run: Run, data: Path | None) -> list[Sample]:
    """The run's samples in `data`, where the user of this machine says they are; [] without any.

    A record's names are only compared with what is there, never joined to a path. Raises UsageError where
    one is missing.
    """
    if run.samples is None:
        if data is not None:
            raise UsageError(f"--data {data}: the run had no --data", "leave it out")
        return []
    if data is None or not data.exists():
        raise CannotRunError(
            f"the run's samples ({run.arguments.data}) are not on this machine",
            "name the same folder or file with --data PATH",
        )
    found = {sample.name: sample for sample in list_samples(adapter, data)}
    names = [entry.name for entry in run.samples.inputs]
    if missing := [name for name in names if name not in found]:
        raise UsageError(
            f"{data.name} does not hold the run's sample {missing[0]!r}",
            "give the same samples with --data PATH, or run inference.py again",
        )
    return [found[name] for name in names]


def _images(folder: Path) -> list[Sample]:
    paths = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _IMAGES and not path.name.startswith(".") and path.is_file()
    )
    return [Sample(name=path.name, value=str(path)) for path in sorted(paths)]


def _tell_left_out(folder: Path, found: Sequence[Sample]) -> None:
    """A photograph of another kind, or in a folder of its own, is not left out in silence."""
    taken = {sample.name for sample in found}
    others = sorted(path.name for path in folder.iterdir() if path.name not in taken)
    if others := [name for name in others if not name.startswith(".")]:
        log.warning(
            f"--data {shown(folder)}: left out {some([*map(visible, others)])}: only files "
            f"whose names end with {' '.join(sorted(_IMAGES))} are taken"
        )


def _lines(file: Path) -> list[Sample]:
    check_regular(file)
    lines = file.read_text("utf-8-sig").split("\n")
    if lines[-1] == "":  # after the last line's end
        lines.pop()
    return [Sample(name=f"line {number}", value=line) for number, line in enumerate(lines, start=1)]
