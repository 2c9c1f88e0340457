"""Make a torchvision whose compiled ops do not load harmless, and keep it out where nobody needs it.

PyPI's x86-64 torchvision is built for CUDA. Beside a CPU build of torch its `_C` library cannot be
loaded, its Python side then registers a fake kernel for an operator that does not exist, and
`import timm` and `from transformers import T5ForConditionalGeneration` both die with `RuntimeError:
operator torchvision::nms does not exist`. No model here needs those ops; their declaration is enough.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

# Schemas from torchvision/csrc/ops/nms.cpp and ops/quantized; declared, never implemented.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def declare_missing_ops() -> Any:
    """Declare torchvision's ops if they cannot be loaded. Call before importing timm or transformers.

    Returns the torch.library.Library that holds the declarations (the cache keeps it alive: they end
    with it), or None where torchvision is absent or its own ops load.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
            return None
        except OSError:
            continue
    declarations = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):  # nobody else has
            declarations.define(schema)
    return declarations


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Import transformers inside, where its model needs no images.

    It imports torchvision with every model, for the losses of detectors: time and memory for nothing.
    torchvision stays as it is for whoever imported it before, and where transformers counts on it
    already: it asks what is installed once only (4.57 when it is imported, 5 when first asked).
    """
    hidden = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.partition(".")[0] == "torchvision"
    }
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    asked = sys.modules.get("transformers.utils")
    if asked is not None and asked.is_torchvision_available():
        _show_again(hidden)
    try:
        yield
    finally:
        _show_again(hidden)


def _show_again(hidden: dict[str, ModuleType]) -> None:
    if sys.modules.get("torchvision", hidden) is None:
        del sys.modules["torchvision"]
        sys.modules.update(hidden)
