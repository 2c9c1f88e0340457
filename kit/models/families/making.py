"""What the inputs of a transformers model are made of: its config, its files, the user's value, a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kit.errors import CannotRunError, KitError, named
from kit.models.families.photo import check_size
from kit.models.families.torchvision_ops import without_torchvision
from kit.storage.file_kinds import why_no_json
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor

PROCESSOR = "preprocessor_config.json"
# As transformers 5 writes it of a model that takes several kinds of input: each processor by its part.
PROCESSORS = "processor_config.json"
# The argument of models whose pixel values come as flattened patches, any number of them.
GRID = "image_grid_thw"
_CLASSES = {"image_processor": "AutoImageProcessor", "feature_extractor": "AutoFeatureExtractor"}


@dataclass(frozen=True, kw_only=True)
class Patches:
    """`pixels` float32 [patches, values of one], `grid` int64 [1, 3] (frames, rows, columns of patches),
    `tokens` of the text that stand for the image: a square of patches is merged into each."""

    pixels: Tensor
    grid: Tensor
    tokens: int


@dataclass
class Making:
    """What one input is made of, and what is said of it."""

    config: Any
    parameters: Mapping[str, Any]
    value: str | None
    companions: Mapping[str, Path]
    said: list[str] = field(default_factory=list)
    value_used: bool = False
    tokens: int | None = None
    processor_file: str = ""
    of_image: Tensor | None = None
    """bool [1, tokens]: which of them stand for a piece of the image; None where the text has no such."""
    patches: Patches | None = None
    """Of the image, where the model takes it so and they are made."""

    def take_value(self) -> str | None:
        """The user's --input, for the first modality that asks for it."""
        if self.value_used:
            return None
        self.value_used = True
        return self.value

    def processor(self, part: str) -> Any:
        """The model's own `image_processor` or `feature_extractor`; None where no file says what it is.
        Raises CannotRunError for a file that cannot be used."""
        for name in (PROCESSOR, PROCESSORS):
            file = self.companions.get(name)
            document = {} if file is None else _read(file)
            if file is not None and (name == PROCESSOR or part in document):
                self.processor_file = name
                _check_sizes(document if name == PROCESSOR else document[part], name)
                with self.using_processor(), without_torchvision():
                    return _loaded(file, _CLASSES[part])
        return None

    @contextmanager
    def using_processor(self) -> Iterator[None]:
        """CannotRunError for whatever a processor's file of another version sets off."""
        try:
            yield
        except KitError:
            raise
        except Exception as error:
            raise CannotRunError(
                Reason("file_of_no_use", file=self.processor_file, said=named(error)),
                Reason("fetch_again"),
            ) from error

    def size(self, *names: str, default: int | None = None) -> int | None:
        """The first integer of these names in the config or the configs inside it."""
        for each in configs(self.config):
            for name in names:
                value = getattr(each, name, None)
                if isinstance(value, (list, tuple)) and value:
                    value = value[-1]
                if type(value) is int and value > 0:
                    return value
        return default


def configs(config: Any) -> Iterator[Any]:
    """The config and every config inside it, outermost first."""
    yield config
    for name in dict.fromkeys((*getattr(config, "sub_configs", {}), *vars(config))):
        inner = getattr(config, name, None)
        if hasattr(inner, "to_dict") and inner is not config:
            yield from configs(inner)


def _read(file: Path) -> Any:
    content = file.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        what, cure = why_no_json(content, error)
        raise CannotRunError(Reason("of_file", file=file.name, what=what), cure) from error


def _loaded(file: Path, kind: str) -> Any:
    import transformers

    return getattr(transformers, kind).from_pretrained(
        file.parent, local_files_only=True, trust_remote_code=False
    )


def _check_sizes(document: Any, file: str) -> None:
    """Raise UsageError where an image would be made too large. A longest edge may be a count of pixels, and
    the shortest one then is."""
    for name in ("size", "crop_size"):
        size = document.get(name) if isinstance(document, dict) else None
        given = size if isinstance(size, dict) else {"height": size, "width": size}
        edge = None if "longest_edge" in given else given.get("shortest_edge")
        height, width = given.get("height", edge), given.get("width", edge)
        if type(height) is int and type(width) is int:
            check_size(height, width, file)


def uniform(key: str, *shape: int) -> Tensor:
    """Seeded float32 in [-1, 1)."""
    import torch

    return torch.rand(shape, generator=seeded(key)) * 2 - 1


def seeded(key: str) -> Any:
    """torch's generator of random numbers, the same for one key everywhere."""
    import torch

    return torch.Generator().manual_seed(crc32(key.encode()))
