"""An Ascend NPU through torch_npu: the only file that names it.

Facts about torch_npu (defaults, failure modes) were read from its wheels, 2.9.0 to 2.14.0. None was
measured on Ascend hardware by this project. tests/test_torch_npu_contract.py holds that every name that is
used here is in those wheels.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.devices.device import Device, Unavailable, check_index, prove
from kit.devices.precision import Precision, PrecisionName, put_flags, set_flags
from kit.devices.versions import release_of, versions_match
from kit.machine.cann import cann_version
from kit.machine.cures import next_step, renumbering, told
from kit.words import Reason

# Names and generations: the table of torch_npu/csrc/core/npu/NpuVariables.cpp. A bare Ascend910B is of the
# first generation there; the later one, which has HF32, is Ascend910B1 to 910B4 and Ascend910_9362 and up.
_FP16_ONLY = re.compile(
    r"(?<!\w)((Ascend ?)?(310(?!\d)|910(A|Pro|Premium|(?!\w)))|Ascend910B(?!\w))"
)


class NpuDevice(Device):
    """An Ascend NPU, or a simulation of one, which is never called real."""

    kind = "npu"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        module = _import_torch_npu()
        self.why_simulated = _why_simulated(module.__file__)
        import torch

        self._npu: Any = torch.npu  # type: ignore[attr-defined]
        if not self._npu.is_available():
            raise _no_npu()
        check_index(self.spec, index, int(self._npu.device_count()), renumbering())
        prove(self)

    @property
    def name(self) -> str:
        name = str(self._npu.get_device_name(self.index))
        return name if not self.simulated or "Simulated NPU" in name else f"Simulated NPU ({name})"

    @property
    def count(self) -> int:
        return int(self._npu.device_count())

    def synchronize(self) -> None:
        self._npu.synchronize(self.spec)

    def set_precision(self, requested: PrecisionName) -> Precision:
        # Convolutions run in HF32 by default, matmuls do not; both flags take only a bool, and a
        # misspelt one vanishes silently, hence the reading back.
        precision = set_flags(requested, self._npu, "conv.allow_hf32", "matmul.allow_hf32")
        enabled = getattr(self._npu, "are_compatible_impl_enabled", None)  # 2.9.0 has none
        precision.flags["compatible_impl"] = bool(enabled()) if enabled else None
        if requested == "strict":
            self._npu.set_option({"ACL_PRECISION_MODE": "must_keep_origin_dtype"})
            precision.flags["ACL_PRECISION_MODE"] = "must_keep_origin_dtype (cannot be read back)"
            if not precision.flags["compatible_impl"]:
                precision.not_set.append("compatible_impl")
        return precision

    def put_flags(self, flags: Mapping[str, bool]) -> None:
        put_flags(self._npu, flags)

    def peak_bytes(self) -> int | None:
        return int(self._npu.max_memory_allocated(self.spec))

    def memory(self) -> tuple[int, int] | None:
        free, total = self._npu.mem_get_info(self.index)
        return int(free), int(total)

    def cann_version(self) -> str | None:
        if self.simulated:
            return None
        return str(self._npu.utils.get_cann_version()) or cann_version()


def multiplies_in_fp16(name: str) -> bool:
    """Whether its matrix unit knows fp16 and no fp32, so that products are fp16's whatever the flags say:
    the first 910 (A, B, ProA, ProB, PremiumA) and every 310."""
    return _FP16_ONLY.search(name) is not None


def forbid_autoload() -> None:
    """Keep `import torch` from importing a torch_npu, which may be broken and take torch down with it.

    Before the first import of torch in a process; NpuDevice imports torch_npu itself.
    """
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"


def ask_for_exact_gelu() -> None:
    """Have torch_npu follow PyTorch's own formulas: exact GELU, unfused attention.

    It reads the variable once, when it is imported; 2.9.0 does not know it.
    """
    os.environ["TORCH_NPU_USE_COMPATIBLE_IMPL"] = "1"


def visible_npus() -> int:
    """How many NPUs torch_npu sees, none of them proven; 0 where it is not installed.

    Imports torch. Raises Unavailable, with the cure, for a torch_npu that is there and of no use.
    """
    if not _torch_npu_is_there():
        return 0
    _import_torch_npu()
    import torch

    count = int(torch.npu.device_count())  # type: ignore[attr-defined]
    if not count:
        raise _no_npu()
    return count


def hide_torch_npu() -> None:
    """Let no library import torch_npu in this process: transformers 5 does wherever it finds it."""
    # A copy: the thread that looks for the weights imports meanwhile.
    for name in [name for name in list(sys.modules) if name.partition(".")[0] == "torch_npu"]:
        del sys.modules[name]
    sys.modules["torch_npu"] = None  # type: ignore[assignment]


def _import_torch_npu() -> Any:
    """Import torch_npu, or hide it and raise Unavailable: nothing later may trip over it."""
    if not _torch_npu_is_there():
        hide_torch_npu()
        raise Unavailable(Reason("no_torch_npu"), Reason("install_matching"))
    import torch

    _check_versions(torch.__version__)
    if torch.version.cuda is not None and _native_torch_npu_is_there():
        raise Unavailable(
            Reason("cuda_build", version=str(torch.__version__)),
            Reason("install_cpu_build"),
        )
    try:
        return importlib.import_module("torch_npu")
    # A partly sourced CANN environment raises plain Exception, a missing library ImportError.
    except Exception as error:
        hide_torch_npu()
        why = Reason("torch_npu_broken", said=told(error))
        raise Unavailable(why, next_step(str(error))) from error


def _no_npu() -> Unavailable:
    return Unavailable(Reason("sees_none"), Reason("list_npus", numbering=renumbering()))


def _torch_npu_is_there() -> bool:
    if "torch_npu" in sys.modules:
        return sys.modules["torch_npu"] is not None
    return _origin() is not None


def _origin() -> str | None:
    """Where a torch_npu would be imported from; None where there is none."""
    spec = importlib.util.find_spec("torch_npu")
    # What pip leaves behind at times is a folder without files: a spec without an origin.
    return None if spec is None else spec.origin


def _why_simulated(origin: str | None) -> Reason | None:
    """Why the torch_npu imported from `origin` counts as a simulation: None for one whose native library
    the dynamic loader of this process has loaded, without which torch_npu is nothing. A file of that name
    is no proof. That the library drives a card, and not something else, cannot be proven from here.
    """
    library = _native_library(origin)
    if library is None:
        return Reason("no_library")
    import ctypes

    try:
        # RTLD_NOLOAD loads nothing: it asks whether this very file is loaded.
        ctypes.CDLL(str(library), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return Reason("library_not_loaded")
    return None


def _native_library(origin: str | None) -> Path | None:
    """The native library beside the package at `origin`; None where there is no such file."""
    library = None if origin is None else Path(origin).parent / "lib" / "libtorch_npu.so"
    return library if library is not None and library.is_file() else None


def _native_torch_npu_is_there() -> bool:
    """Known before the import, which aborts the process beside a CUDA build of torch."""
    origin = None if "torch_npu" in sys.modules else _origin()
    return _native_library(origin) is not None


def _check_versions(torch_version: str) -> None:
    """Compare by metadata before the import: a missing CANN would hide a mismatch."""
    import importlib.metadata

    try:
        npu_version = importlib.metadata.version("torch_npu")
    except importlib.metadata.PackageNotFoundError:
        return  # on the path without being installed: a simulation, or a source tree

    if not versions_match(npu_version, torch_version):
        hide_torch_npu()
        raise Unavailable(
            Reason("mismatch", torch_npu=npu_version, torch=torch_version),
            Reason("install_torch_npu", version=release_of(torch_version) or torch_version),
        )
