"""timm image models: one forward gives the pooled features and, where there are classes, their logits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.accuracy.spec import OutputSpec
from kit.errors import UnsupportedError, UsageError, named, visible
from kit.models.adapter import Adapter, ModelInput
from kit.models.building import built
from kit.models.declaration import CONFIG, ModelInfo, read_config
from kit.models.families.bounds import check_values
from kit.models.families.photo import check_photo, check_size, open_upright, sample_photo
from kit.models.families.top5 import top5
from kit.models.families.torchvision_ops import declare_missing_ops
from kit.words import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

# Arguments of a builder that would load something; a config may not give them.
_LOADING = frozenset(
    "pretrained pretrained_cfg pretrained_cfg_overlay pretrained_strict checkpoint_path cache_dir "
    "features_only scriptable exportable no_jit".split()
)
# What timm's configs say of preprocessing, which a kept config needs no more than.
_KEPT = (
    "tag input_size fixed_input_size interpolation crop_pct crop_mode mean std num_classes pool_size "
    "first_conv classifier license"
).split()


class TimmImage(Adapter):
    """A timm model with a config.json in the hub's format: architecture, num_classes, pretrained_cfg.

    The default input is `photo.png` of the model's folder, else the kit's own photograph.
    """

    primary = "features"
    samples = "images"

    def __init__(self, info: ModelInfo, files: Mapping[str, bytes], **places: Path | None) -> None:
        super().__init__(info, files, **places)
        self._config = _checked(read_config(files))
        self.outputs = {"features": OutputSpec(role="features")}
        if self._config.get("num_classes", 1) > 0:
            self.outputs["logits"] = OutputSpec(role="logits")

    def check_input(self, value: str | None) -> None:
        """Raise UsageError where VALUE is not an image file that Pillow can read."""
        check_photo(self._photo(value))

    def build(self) -> nn.Module:
        """The architecture of config.json in eval mode, its parameters on the meta device.

        Raises UsageError for a config that timm cannot build, or that names anything but a model of its
        registry and values for it.
        """
        declare_missing_ops()
        import timm

        config = self._config
        name = config.get("architecture")
        if not isinstance(name, str) or not timm.is_model(name):
            raise UnsupportedError(
                Reason("timm_without", file=CONFIG, name=repr(name), version=timm.__version__),
                Reason("install_timm"),
            )
        arguments = {**config.get("model_args", {})}
        if loading := _LOADING & arguments.keys():
            raise UsageError(
                Reason("loading_argument", file=CONFIG, name=min(loading)), Reason("remove_it")
            )
        arguments |= {each: config[each] for each in ("num_classes",) if each in config}
        try:
            model = built(partial(timm.create_model, name, pretrained=False, **arguments))
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise UsageError(
                Reason("timm_cannot_build", name=name, file=CONFIG, said=str(error)),
                Reason("fetch_again"),
            ) from error
        return model

    def load_input(self, value: str | None, companions: Mapping[str, Path]) -> ModelInput:
        """`pixel_values`: float32 [1, channels, height, width] by the model's published preprocessing."""
        declare_missing_ops()
        import timm.data

        path = self._photo(value)
        image = open_upright(path)
        try:
            preprocessing = timm.data.resolve_data_config(pretrained_cfg=self._preprocessing())
            channels, height, width = preprocessing["input_size"]
            check_size(height, width, CONFIG)
            grey = channels != 3  # of a photograph in so many channels no more is known
            if grey:
                image = image.convert("L")
                for each in ("mean", "std"):
                    preprocessing[each] = (sum(preprocessing[each]) / len(preprocessing[each]),)
            pixels = timm.data.create_transform(**preprocessing)(image)
            pixels = pixels.expand(channels, -1, -1).contiguous()
        except (
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # whatever a value sets off
            raise UsageError(
                Reason("timm_cannot_preprocess", file=CONFIG, said=named(error)),
                Reason("fetch_again"),
            ) from error
        return ModelInput(
            tensors={"pixel_values": pixels.unsqueeze(0)},
            description=f"image {visible(path.name)} ({image.width}x{image.height} pixels)"
            + f" in grey, {channels} channels" * grey,
        )

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`features` [batch, num_features], which is what the classifier is given (classifiers: one after
        the other), and the `logits` [batch, classes] that it makes of them; of a model without a
        classifier what it gives."""
        import torch

        if "logits" not in self.outputs:
            return {"features": model(inputs["pixel_values"]).flatten(1)}
        given: dict[int, Tensor] = {}

        def watch(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            given.setdefault(id(arguments[0]), arguments[0])

        classifier: Any = model.get_classifier
        watches = [each.register_forward_pre_hook(watch) for each in _leaves(classifier())]
        try:
            logits = model(inputs["pixel_values"])
        finally:
            for each in watches:
                each.remove()
        if not given:
            raise UnsupportedError(
                Reason("no_classifier", architecture=self.info.architecture),
                Reason("write_adapter"),
            )
        return {
            "features": torch.cat([each.flatten(1) for each in given.values()], dim=1),
            "logits": logits,
        }

    def describe(
        self, outputs: Mapping[str, Tensor], companions: Mapping[str, Path]
    ) -> dict[str, Any]:
        """`top5`: the five largest logits of the first row, with their class names."""
        if "logits" not in self.outputs:
            return {}
        logits = outputs["logits"]
        known = logits.shape[-1] == 1000
        return {"top5": top5(logits[0], _imagenet_labels if known else None)}

    def _preprocessing(self) -> Mapping[str, Any]:
        """What the config says of it, where timm's first configs had it, or timm's registry."""
        import timm

        config = self._config
        own = config.get("pretrained_cfg") or {key: config[key] for key in _KEPT if key in config}
        if "input_size" not in own:
            own = {**timm.get_pretrained_cfg(config["architecture"]).to_dict(), **own}
        return own | {"input_size": _built_for(config.get("model_args", {}), own["input_size"])}

    def _photo(self, value: str | None) -> Path:
        if value is not None:
            return Path(value)
        own = self.folder / "photo.png" if self.folder else None
        return own if own and own.is_file() else sample_photo()


def _built_for(arguments: Mapping[str, Any], published: Sequence[int]) -> tuple[int, ...]:
    """Channels, height and width of the input: those that the model was built with, else published."""
    channels, *size = published
    side = arguments.get("img_size") or size
    return (arguments.get("in_chans") or channels, *([side, side] if type(side) is int else side))


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """The config, whose values have the kinds that timm gives them. Raises UsageError."""
    check_values(config, CONFIG)
    for name in ("model_args", "pretrained_cfg"):
        if not isinstance(config.get(name, {}), dict):
            raise UsageError(Reason("no_object", file=CONFIG, name=name), Reason("fetch_again"))
    classes = config.get("num_classes", 0)
    if type(classes) is not int or classes < 0:
        raise UsageError(Reason("no_count", file=CONFIG, value=repr(classes)), Reason("correct_it"))
    return config


def _leaves(classifier: Any) -> Iterator[nn.Module]:
    """The classifiers of a model that has several, or the one."""
    from torch import nn

    if isinstance(classifier, (tuple, list, nn.ModuleList)):
        for each in classifier:
            yield from _leaves(each)
    elif classifier is not None:
        yield classifier


def published_as(name: str) -> str | None:
    """The hub id of the weights of a name of timm's registry, with or without their tag; "" where it has
    none, None where the registry has no such name. Needs no network."""
    declare_missing_ops()
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        return None
    if tag and tag not in {
        each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")
    }:
        return None
    published = timm.get_pretrained_cfg(name)
    repository: str = published.hf_hub_id or ""
    spelled = f"{architecture}.{published.tag}" if published.tag else architecture
    return repository + spelled if repository.endswith("/") else repository


def timm_info(
    hub_id: str, architecture: str, *, revision: str, license: str | None, name: str | None = None
) -> ModelInfo:
    """The declaration of a timm model that nobody declared by hand."""
    return ModelInfo(
        family="timm_image",
        name=name or hub_id or architecture,
        hub_id=hub_id,
        revision=revision if hub_id else "",
        vendor=hub_id.partition("/")[0] or None,
        task="image classification",
        pipeline_tag="image-classification",
        library="timm",
        license=license,
        architecture=architecture,
    )


def registry_config(name: str) -> bytes:
    """A config.json in the hub's format for a name of timm's registry, from the registry alone."""
    declare_missing_ops()
    import timm

    known = timm.get_pretrained_cfg(name).to_dict()
    config = {
        "architecture": name.partition(".")[0],
        "num_classes": known.get("num_classes", 1000),
        "pretrained_cfg": {key: known[key] for key in _KEPT if key in known},
    }
    return (json.dumps(config, indent=2) + "\n").encode("utf-8")


_SYNSET = len("n01440764")


def _imagenet_labels(indices: list[int]) -> list[str | None]:
    """Names of ImageNet-1k classes, from timm's own lists.

    Not by timm.data.ImageNetInfo: it reads the definitions of all 21,843 classes, 15 MB for five names.
    """
    declare_missing_ops()
    import importlib.resources

    folder = importlib.resources.files("timm.data").joinpath("_info")
    synsets = folder.joinpath("imagenet_synsets.txt").read_text("utf-8").split()
    wanted = {synsets[index] for index in indices}
    with folder.joinpath("imagenet_synset_to_lemma.txt").open(encoding="utf-8") as lines:
        known = (line for line in lines if line[:_SYNSET] in wanted)
        names = dict(line.rstrip("\n").split("\t", 1) for line in known)
    return [names.get(synsets[index]) for index in indices]
