"""What bears on a number besides the model: versions, processor, threads, environment variables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

_PACKAGES = (
    "torch",
    "torch_npu",
    "torchvision",
    "transformers",
    "timm",
    "safetensors",
    "tokenizers",
    "numpy",
    "huggingface_hub",
)
# Only variables that change numerics, devices or threads, and hold no secret or address.
_VARIABLES = (
    "ASCEND_LAUNCH_BLOCKING",
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "TASK_QUEUE_ENABLE",
    "TORCH_NPU_DISABLED_WARNING",
    "TORCH_NPU_FALLBACK_CPU_DISABLE",
    "TORCH_NPU_USE_COMPATIBLE_IMPL",
    "TORCH_NPU_WARNING_DISABLE",
)


def describe_environment() -> dict[str, Any]:
    """The record's environment. Versions come from metadata, None where a package is absent."""
    import torch

    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        # torch's metadata lacks the build suffix (+cpu, +cu130) that tells the builds apart.
        "packages": {name: _version(name) for name in _PACKAGES} | {"torch": torch.__version__},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
