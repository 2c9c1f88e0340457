"""A transformers config from elsewhere: it names a class of the library's own table and plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.errors import UnsupportedError, UsageError
from kit.models.declaration import CONFIG, ModelInfo
from kit.models.families.bounds import check_values
from kit.models.families.torchvision_ops import without_torchvision
from kit.words import Reason

# What a config may hold that would choose code, load other weights, cast what is built, or take the names
# off what it gives: left out.
_LEFT_OUT = frozenset(
    "_name_or_path _attn_implementation attn_implementation _attn_implementation_autoset "
    "_experts_implementation dtype torch_dtype use_pretrained_backbone backbone_kwargs "
    "_commit_hash return_dict torchscript".split()
)
# The task that a class is named after, and the hub's name for it.
_TASKS: Mapping[str, tuple[str, str | None]] = {
    "ForMaskedLM": ("masked language modelling", "fill-mask"),
    "ForCausalLM": ("text generation", "text-generation"),
    "LMHeadModel": ("text generation", "text-generation"),
    "ForSequenceClassification": ("text classification", "text-classification"),
    "ForTokenClassification": ("token classification", "token-classification"),
    "ForQuestionAnswering": ("question answering", "question-answering"),
    "ForImageClassification": ("image classification", "image-classification"),
    "ForSemanticSegmentation": ("semantic segmentation", "image-segmentation"),
    "ForObjectDetection": ("object detection", "object-detection"),
    "ForDepthEstimation": ("depth estimation", "depth-estimation"),
    "ForAudioClassification": ("audio classification", "audio-classification"),
    "ForCTC": ("speech recognition", "automatic-speech-recognition"),
    "ForSpeechSeq2Seq": ("speech recognition", "automatic-speech-recognition"),
    "ForConditionalGeneration": ("conditional generation", None),
    "ForPreTraining": ("pre-training heads", None),
}
_REFUSED = {
    "auto_map": ("names_own_code", "remove_auto_map"),
    "quantization_config": ("of_quantised_weights", "take_unquantised"),
    "compression_config": ("of_quantised_weights", "take_unquantised"),
    "quantization": ("of_quantised_weights", "take_unquantised"),  # MLX's
}


def check_config(document: dict[str, Any]) -> dict[str, Any]:
    """The values of config.json as they are, if they may be used. Needs no library.

    Raises UsageError for what is no transformers config or breaks its bounds, UnsupportedError for code
    of its own and for quantised weights.
    """
    check_values(document, CONFIG)
    if not isinstance(document.get("model_type"), str):
        raise UsageError(Reason("no_model_type", file=CONFIG), Reason("give_saved"))
    for each in _levels(document):
        for name, (why, cure) in _REFUSED.items():
            if each.get(name):
                refused = Reason("of_file", file=CONFIG, what=Reason(why))
                raise UnsupportedError(refused, Reason(cure))
    return document


def declare(
    document: Mapping[str, Any],
    *,
    name: str,
    hub_id: str,
    revision: str,
    companions: tuple[str, ...],
) -> ModelInfo:
    """The declaration of a transformers model that nobody declared by hand."""
    architecture = named_class(document) or document["model_type"]
    task, tag = next(
        (found for ending, found in _TASKS.items() if architecture.endswith(ending)),
        ("features", None),
    )
    return ModelInfo(
        family="transformers",
        name=name,
        hub_id=hub_id,
        revision=revision,
        vendor=hub_id.partition("/")[0] or None,
        task=task,
        pipeline_tag=tag,
        library="transformers",
        license=None,
        architecture=architecture,
        companions=companions,
    )


def named_class(document: Mapping[str, Any]) -> str | None:
    """The class that the checkpoint names; None where it names none."""
    names = document.get("architectures") or []
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def library_config(document: Mapping[str, Any]) -> Any:
    """transformers' own config object of the values. Raises UnsupportedError, UsageError."""
    with without_torchvision():
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = document["model_type"]
    try:
        with without_torchvision():
            return CONFIG_MAPPING[kind].from_dict(plain(document))
    except Exception as error:  # each config checks its values in its own way
        raise UsageError(
            Reason("config_of_other", file=CONFIG, kind=kind, said=str(error)),
            Reason("fetch_again"),
        ) from error


def library_class(document: Mapping[str, Any]) -> Any:
    """The class that the checkpoint names, of transformers' own classes for its model_type; its base
    model where it names none. Raises UnsupportedError for any other name."""
    with without_torchvision():
        import transformers
        from transformers.models.auto import modeling_auto

        kind, wanted = document["model_type"], named_class(document)
        tables = [
            getattr(modeling_auto, name) for name in dir(modeling_auto) if name.endswith(_TABLES)
        ]
        mapped = [name for table in tables for name in _names(table.get(kind))]
        if wanted is None:
            wanted = next(iter(_names(modeling_auto.MODEL_MAPPING_NAMES.get(kind))), None)
    if not mapped:
        raise UnsupportedError(
            Reason("no_such_type", version=transformers.__version__, kind=repr(kind)),
            Reason("install_version"),
        )
    with without_torchvision():
        for name in mapped:
            known = getattr(transformers, name, None)
            # A class beside the mapped ones in the library's file of this model_type will do as well.
            beside = __import__(known.__module__, fromlist=[name]) if known is not None else None
            found = getattr(beside, wanted or "", None)
            if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
                return found
    raise UnsupportedError(
        Reason(
            "no_such_class",
            file=CONFIG,
            name=repr(wanted),
            version=transformers.__version__,
            kind=kind,
        ),
        Reason("install_version_or_write"),
    )


_TABLES = "_MAPPING_NAMES"


def _names(entry: Any) -> tuple[str, ...]:
    return () if entry is None else tuple(entry) if isinstance(entry, (tuple, list)) else (entry,)


def _levels(document: Any) -> Iterator[Mapping[str, Any]]:
    """The config and every config inside it."""
    if isinstance(document, Mapping):
        yield document
        for value in document.values():
            yield from _levels(value)


def plain(value: Any) -> Any:
    """The config without what would choose code, other weights or a cast, on every level."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if key not in _LEFT_OUT}
    return value
