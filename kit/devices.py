"""Devices: npu, cuda, cpu. The only file that names torch_npu.

A device is believed when memory was allocated on it and it was synchronised, never on is_available()
alone. An explicit device that cannot be used is an error; `auto` prefers npu, then cuda, then cpu, and
keeps the reason for each that it passed over. Facts about torch_npu (defaults, failure modes) were read
from its 2.13.0 and 2.9.0.post2 wheels; none was measured on Ascend hardware by this project.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from kit.cures import cure_for
from kit.errors import CannotRunError, UsageError

PRECISIONS = ("default", "strict", "fast")
_NO_NPU = "torch_npu sees no NPU; npu-smi info must list one"
# The first allocation on an idle NPU takes seconds; one that takes longer than this is stuck.
_PROBE_SECONDS = 60.0
_DEVICE = re.compile(r"auto|cpu|(npu|cuda)(:\d+)?")


@dataclass(kw_only=True)
class Precision:
    """The arithmetic flags of a run: what was asked for, and what the library reads back."""

    requested: str
    flags: dict[str, Any] = field(default_factory=dict)
    not_set: list[str] = field(default_factory=list)


class Device(ABC):
    """One usable device; `spec` is torch's name for it, such as npu:0. Constructing it proves it.

    Raises _Unavailable from the constructor, with the reason and the cure.
    """

    kind: ClassVar[str]
    simulated: ClassVar[bool] = False

    def __init__(self, index: int) -> None:
        self.index = index
        self.reason = ""

    @property
    def spec(self) -> str:
        """torch's name of the device: npu:0, cuda:1, cpu."""
        return f"{self.kind}:{self.index}"

    @property
    @abstractmethod
    def name(self) -> str:
        """The hardware's own name."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many devices of this kind the process sees."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything submitted to the device is done. Raises what the device raises."""

    @abstractmethod
    def set_precision(self, requested: str) -> Precision:
        """Set the arithmetic flags for one of PRECISIONS and read them back."""

    def peak_bytes(self) -> int | None:
        """Peak of the memory allocated on the device in bytes, None where it is not counted."""
        return None

    def memory(self) -> tuple[int, int] | None:
        """Free and total bytes of the device's own memory, None where it has none of its own."""
        return None

    def cann_version(self) -> str | None:
        """The version of CANN that drives the device, None where there is none."""
        return None


class _Unavailable(Exception):
    """Why a device cannot be used, with the cure, on one line."""


def check_device_name(requested: str) -> str:
    """`requested` if it reads auto, cpu, npu[:N] or cuda[:N]; raises UsageError otherwise."""
    if not _DEVICE.fullmatch(requested):
        raise UsageError(f"--device {requested!r}: give auto, npu:N, cuda:N or cpu")
    return requested


def forbid_autoload() -> None:
    """Keep `import torch` from importing a torch_npu, which may be broken and take torch down with it.

    Before the first import of torch in a process; select_device() imports torch_npu itself.
    """
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"


def select_device(requested: str, precision: str = "default") -> Device:
    """The device for `--device`, proven by an allocation, with `reason` saying why it was taken.

    Imports torch. Raises UsageError for a malformed name and CannotRunError, with the cure, for an
    explicit device that cannot be used.
    """
    kind, _, index = check_device_name(requested).partition(":")
    forbid_autoload()
    if precision == "strict":
        # Exact GELU, unfused attention: torch_npu reads it once, when it is imported.
        os.environ["TORCH_NPU_USE_COMPATIBLE_IMPL"] = "1"
    if kind == "auto":
        return _first_usable()
    try:
        device = _open(kind, int(index or 0))
    except _Unavailable as error:
        raise CannotRunError(
            f"{requested} cannot be used: {error} (or take --device auto)"
        ) from error
    device.reason = "asked for with --device"
    return device


def visible_devices() -> list[str]:
    """The names of all NPUs, else of all GPUs, none of them proven; empty where there is neither.

    Imports torch. Raises CannotRunError, with the cure, for a torch_npu that is there and of no use.
    """
    forbid_autoload()
    if _torch_npu_is_there():
        try:
            _import_torch_npu()
            import torch

            count = int(torch.npu.device_count())  # type: ignore[attr-defined]
        except Exception as error:  # as in _open: the runtime's own classes are among them
            raise CannotRunError(_explained(error)) from error
        if not count:
            raise CannotRunError(_NO_NPU)
        return [f"npu:{index}" for index in range(count)]
    import torch

    usable = torch.version.cuda is not None and torch.cuda.is_available()
    return [f"cuda:{index}" for index in range(torch.cuda.device_count() if usable else 0)]


def _open(kind: str, index: int) -> Device:
    """The device, or _Unavailable for whatever its runtime raises."""
    try:
        return _BACKENDS[kind](index)
    except (_Unavailable, UsageError):
        raise
    except Exception as error:  # every runtime has its own classes
        raise _Unavailable(_explained(error)) from error


def _explained(error: Exception) -> str:
    """What a runtime raised, with the cure, on one line."""
    if isinstance(error, _Unavailable):
        return str(error)
    text = " ".join(str(error).split())
    cure = cure_for(text) or "check the driver and the installation"
    return f"{type(error).__name__}: {text}; {cure}"


def _first_usable() -> Device:
    passed_over = []
    for kind in ("npu", "cuda"):
        try:
            device = _open(kind, 0)
        except _Unavailable as error:
            passed_over.append(f"no {kind}: {error}")
            continue
        device.reason = "; ".join([*passed_over, f"auto takes the first of {device.count} {kind}"])
        return device
    device = CpuDevice(0)
    device.reason = "; ".join(passed_over)
    return device


def processor_name() -> str | None:
    """The one line of /proc/cpuinfo that names the processor, None where there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8", "replace") if cpuinfo.is_file() else ""
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None


class CpuDevice(Device):
    """The CPU: the reference, and the device of a self-check."""

    kind = "cpu"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        _hide_torch_npu()
        import torch

        self._torch = torch

    @property
    def spec(self) -> str:
        return "cpu"

    @property
    def name(self) -> str:
        return processor_name() or self._torch.backends.cpu.get_cpu_capability()

    @property
    def count(self) -> int:
        return 1

    def synchronize(self) -> None:
        """Nothing to wait for: CPU operators return when they are done."""

    def set_precision(self, requested: str) -> Precision:
        precision = Precision(requested=requested)
        if requested != "default":
            self._torch.set_float32_matmul_precision("highest" if requested == "strict" else "high")
        precision.flags["float32_matmul_precision"] = self._torch.get_float32_matmul_precision()
        return precision


class CudaDevice(Device):
    """An NVIDIA GPU: a device whose TF32 flags play the part of the NPU's HF32."""

    kind = "cuda"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        _hide_torch_npu()
        import torch

        self._torch = torch
        if torch.version.cuda is None:
            raise _Unavailable("this torch is built without CUDA; install a CUDA build of torch")
        if not torch.cuda.is_available():
            raise _Unavailable("no CUDA device is visible; check nvidia-smi")
        _check_index(self.spec, index, torch.cuda.device_count())
        _prove(self)

    @property
    def name(self) -> str:
        return str(self._torch.cuda.get_device_name(self.index))

    @property
    def count(self) -> int:
        return self._torch.cuda.device_count()

    def synchronize(self) -> None:
        self._torch.cuda.synchronize(self.index)

    def set_precision(self, requested: str) -> Precision:
        backends = self._torch.backends
        flags = {"matmul.allow_tf32": backends.cuda.matmul, "cudnn.allow_tf32": backends.cudnn}
        return _set_flags(requested, flags, attribute="allow_tf32")

    def peak_bytes(self) -> int | None:
        return int(self._torch.cuda.max_memory_allocated(self.index))

    def memory(self) -> tuple[int, int] | None:
        free, total = self._torch.cuda.mem_get_info(self.index)
        return int(free), int(total)


class NpuDevice(Device):
    """An Ascend NPU through torch_npu, or a simulation of one, which is never called real."""

    kind = "npu"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        module = _import_torch_npu()
        # torch_npu is nothing without its native library: whatever lacks it is a simulation.
        native = Path(module.__file__).parent / "lib" / "libtorch_npu.so"
        self.simulated = not native.is_file()  # type: ignore[misc]
        import torch

        self._npu: Any = torch.npu  # type: ignore[attr-defined]
        if not self._npu.is_available():
            raise _Unavailable(_NO_NPU)
        _check_index(self.spec, index, int(self._npu.device_count()))
        _prove(self)

    @property
    def name(self) -> str:
        name = str(self._npu.get_device_name(self.index))
        return name if not self.simulated or "Simulated NPU" in name else f"Simulated NPU ({name})"

    @property
    def count(self) -> int:
        return int(self._npu.device_count())

    def synchronize(self) -> None:
        self._npu.synchronize(self.spec)

    def set_precision(self, requested: str) -> Precision:
        # Convolutions run in HF32 by default, matmuls do not; both flags take only a bool, and a
        # misspelt one vanishes silently, hence the reading back.
        flags = {"conv.allow_hf32": self._npu.conv, "matmul.allow_hf32": self._npu.matmul}
        precision = _set_flags(requested, flags, attribute="allow_hf32")
        if requested == "strict":
            self._npu.set_option({"ACL_PRECISION_MODE": "must_keep_origin_dtype"})
            precision.flags["ACL_PRECISION_MODE"] = "must_keep_origin_dtype (cannot be read back)"
        enabled = getattr(self._npu, "are_compatible_impl_enabled", None)  # not before 2.13
        precision.flags["compatible_impl"] = bool(enabled()) if enabled else None
        if requested == "strict" and precision.flags["compatible_impl"] is False:
            precision.not_set.append("compatible_impl")
        return precision

    def peak_bytes(self) -> int | None:
        return int(self._npu.max_memory_allocated(self.spec))

    def memory(self) -> tuple[int, int] | None:
        free, total = self._npu.mem_get_info(self.index)
        return int(free), int(total)

    def cann_version(self) -> str | None:
        if self.simulated:
            return None
        get_version = getattr(self._npu.utils, "get_cann_version", None)
        return (str(get_version()) or None) if get_version else None


_BACKENDS: dict[str, type[Device]] = {"npu": NpuDevice, "cuda": CudaDevice, "cpu": CpuDevice}


def _import_torch_npu() -> Any:
    """Import torch_npu, or hide it and raise _Unavailable: nothing later may trip over it."""
    if not _torch_npu_is_there():
        _hide_torch_npu()
        raise _Unavailable("torch_npu is not installed; install the one that matches torch")
    import torch

    _check_versions(torch.__version__)
    if torch.version.cuda is not None:
        raise _Unavailable(
            f"torch {torch.__version__} is a CUDA build, beside which torch_npu aborts the process; "
            "install the CPU build of the same version"
        )
    try:
        return importlib.import_module("torch_npu")
    # A partly sourced CANN environment raises plain Exception, a missing library ImportError.
    except Exception as error:
        _hide_torch_npu()
        text = " ".join(str(error).split())
        raise _Unavailable(
            f"torch_npu does not load ({text}); "
            f"{cure_for(text) or 'install the torch_npu that matches torch and CANN'}"
        ) from error


def _torch_npu_is_there() -> bool:
    if "torch_npu" in sys.modules:
        return sys.modules["torch_npu"] is not None
    spec = importlib.util.find_spec("torch_npu")
    # What pip leaves behind at times is a folder without files: a spec without an origin.
    return spec is not None and spec.origin is not None


def _check_versions(torch_version: str) -> None:
    """Compare by metadata before the import: a missing CANN would hide a mismatch."""
    try:
        npu_version = importlib.metadata.version("torch_npu")
    except importlib.metadata.PackageNotFoundError:
        return  # on the path without being installed: a simulation, or a source tree

    if not versions_match(npu_version, torch_version):
        _hide_torch_npu()
        raise _Unavailable(
            f"torch_npu {npu_version} does not match torch {torch_version}; install torch_npu "
            f"{release_of(torch_version)}"
        )


def versions_match(npu_version: str, torch_version: str) -> bool:
    """Whether a torch_npu is for this torch; versions that cannot be read are taken to match."""
    ours, theirs = release_of(npu_version), release_of(torch_version)
    return ours is None or theirs is None or ours == theirs


def release_of(version: str) -> str | None:
    """2.9.0.post2, 2.9.0rc1 and a 2.9.0a0+git of an Ascend image all belong to 2.9.0."""
    match = re.match(r"\d+\.\d+\.\d+", version)
    return match[0] if match else None


def _hide_torch_npu() -> None:
    """Let no library import torch_npu in this process: transformers 5 does wherever it finds it."""
    # A copy: the thread that looks for the weights imports meanwhile.
    for name in [name for name in list(sys.modules) if name.partition(".")[0] == "torch_npu"]:
        del sys.modules[name]
    sys.modules["torch_npu"] = None  # type: ignore[assignment]


def _check_index(spec: str, index: int, count: int) -> None:
    if index >= count:
        kind = spec.partition(":")[0]
        there = f"{kind}:0 to {kind}:{count - 1}" if count > 1 else f"only {kind}:0"
        raise _Unavailable(f"{spec} does not exist, there is {there}" if count else f"no {kind}")


def probe_seconds() -> float | None:
    """KIT_PROBE_SECONDS, None where it is not set. Raises UsageError where it is no number of seconds."""
    text = os.environ.get("KIT_PROBE_SECONDS")
    try:
        seconds = None if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise UsageError(f"KIT_PROBE_SECONDS={text!r}: give a number of seconds")
    return seconds


def _prove(device: Device) -> None:
    """Allocate on the device and synchronise, in a thread so that a stuck driver ends in an error."""
    import torch

    failure: list[Exception] = []

    def allocate() -> None:
        try:
            torch.ones(8, device=device.spec)
            device.synchronize()
        except Exception as error:  # every runtime has its own classes
            failure.append(error)

    thread = threading.Thread(target=allocate, daemon=True)
    thread.start()
    asked = probe_seconds()
    limit = _PROBE_SECONDS if asked is None else asked
    thread.join(limit)
    if thread.is_alive():
        raise _Unavailable(
            f"an allocation on {device.spec} did not return within {limit:.0f} s; check the "
            "card (npu-smi info), or raise KIT_PROBE_SECONDS on a slow host"
        )
    if failure:
        text = " ".join(str(failure[0]).split())
        raise _Unavailable(
            f"an allocation on it failed ({text}); {cure_for(text) or 'check the driver'}"
        ) from failure[0]


def _set_flags(requested: str, holders: dict[str, Any], *, attribute: str) -> Precision:
    """Set one boolean attribute on every holder (strict: off, fast: on) and read all back."""
    precision = Precision(requested=requested)
    wanted = {"strict": False, "fast": True}.get(requested)
    for label, holder in holders.items():
        if wanted is not None:
            setattr(holder, attribute, wanted)
        precision.flags[label] = getattr(holder, attribute)
        if wanted is not None and precision.flags[label] is not wanted:
            precision.not_set.append(label)
    return precision
