"""What bears on a number besides the model: versions, processor, threads, environment variables.

The same of the machine that ran the device and of the one that ran the reference, which may be another.
"""

from __future__ import annotations

import os
import re
from typing import Annotated

from msgspec import Meta

from kit.documented import Documented, says
from kit.machine.cann import cann_version, driver_version
from kit.machine.processor import idle_cores, load_average, processor_name, usable_cores

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
# Those that change numerics, placement, threads or time: of torch_npu (they are in its library; that of
# HF32 and the like is set by the program), of CANN, of torch and of the libraries beneath it.
_VARIABLES = """
    ASCEND_CUSTOM_OPP_PATH ASCEND_GLOBAL_LOG_LEVEL ASCEND_HOME_PATH ASCEND_LAUNCH_BLOCKING ASCEND_OPP_PATH
    ASCEND_RT_VISIBLE_DEVICES ASCEND_VISIBLE_DEVICES ACL_OP_INIT_MODE COMBINED_ENABLE CPU_AFFINITY_CONF
    HCCL_DETERMINISTIC INF_NAN_MODE_ENABLE INF_NAN_MODE_FORCE_DISABLE LCCL_DETERMINISTIC
    MULTI_STREAM_MEMORY_REUSE PYTORCH_NPU_ALLOC_CONF STREAMS_PER_DEVICE TASK_QUEUE_ENABLE
    TORCH_NPU_DISABLED_WARNING TORCH_NPU_FALLBACK_CPU_DISABLE TORCH_NPU_USE_COMPATIBLE_IMPL
    TORCH_NPU_WARNING_DISABLE RANK TORCH_CPP_LOG_LEVEL
    CUBLAS_WORKSPACE_CONFIG CUDA_LAUNCH_BLOCKING CUDA_VISIBLE_DEVICES NVIDIA_TF32_OVERRIDE
    PYTORCH_CUDA_ALLOC_CONF TORCH_ALLOW_TF32_CUBLAS_OVERRIDE
    ATEN_CPU_CAPABILITY DNNL_DEFAULT_FPMATH_MODE DNNL_MAX_CPU_ISA GOMP_CPU_AFFINITY KMP_AFFINITY
    LD_PRELOAD MALLOC_ARENA_MAX MKL_CBWR MKL_DYNAMIC MKL_ENABLE_INSTRUCTIONS MKL_NUM_THREADS
    OMP_NUM_THREADS OMP_PLACES OMP_PROC_BIND ONEDNN_DEFAULT_FPMATH_MODE ONEDNN_MAX_CPU_ISA
    OPENBLAS_NUM_THREADS HF_HUB_OFFLINE
""".split()
# What such settings look like: numbers, words, lists of them. A path tells of a machine, not of a number.
_SETTING = re.compile(r"[\w.,:;=+*\[\]{}() -]{0,200}", re.ASCII)


class Environment(Documented, frozen=True, kw_only=True):
    """What bears on a number besides the model. Null where the run ended before."""

    python: Annotated[str, says("Version of Python.")]
    system: Annotated[str, says("Operating system.")]
    machine: Annotated[str, says("Processor architecture.")]
    processor: Annotated[
        str | None, says("The CPU's own name; null where the system does not say.")
    ]
    cores: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        says("Cores that the process may use; null where the system does not say."),
    ]
    load_average: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        says(
            "Threads that ran or waited for a core of the machine, averaged over the minute "
            "before the model ran; null where the system does not say."
        ),
    ]
    idle_cores: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        says(
            "Cores of the machine less load_average, in whole cores, at most cores: where "
            "threads is above it, times are not those of an idle machine. Null where either "
            "is unknown."
        ),
    ]
    threads: Annotated[int, says("Threads within one of torch's CPU operators.")]
    interop_threads: Annotated[
        int, says("Threads that torch may run independent CPU operators in.")
    ]
    deterministic: Annotated[
        bool, says("Whether torch was told to use deterministic algorithms only.")
    ]
    cann_version: Annotated[
        str | None,
        says(
            "Version of the CANN whose environment is set, from its installer's files, "
            "whatever the device; null where none is."
        ),
    ]
    driver_version: Annotated[
        str | None,
        says("Version of the Ascend driver, from its installer's file; null where none is seen."),
    ]
    packages: Annotated[
        dict[str, str | None], says("Installed versions; null where a package is absent.")
    ]
    variables: Annotated[
        dict[str, str],
        says(
            "Environment variables that change numerics, devices, threads or time, of a "
            "fixed list, where set. The value of one that is a path reads (a path), of "
            "one that is no plain setting (not shown)."
        ),
    ]


def describe_environment() -> Environment:
    """The environment of this process. Versions come from metadata, None where a package is absent."""
    import platform

    import torch

    load = load_average()
    return Environment(
        python=platform.python_version(),
        system=platform.system(),
        machine=platform.machine(),
        processor=processor_name(),
        cores=usable_cores(),
        load_average=load,
        idle_cores=idle_cores(load),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        cann_version=cann_version(),
        driver_version=driver_version(),
        # torch's metadata lacks the build suffix (+cpu, +cu130) that tells the builds apart.
        packages={name: _version(name) for name in _PACKAGES} | {"torch": str(torch.__version__)},
        variables={name: _shown(os.environ[name]) for name in _VARIABLES if name in os.environ},
    )


def _shown(value: str) -> str:
    """A variable's value, if it is a setting: paths and whatever might hold a secret stay here."""
    if _SETTING.fullmatch(value):
        return value
    return "(a path)" if "/" in value else "(not shown)"


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
