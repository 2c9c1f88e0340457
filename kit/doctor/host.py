"""What can be seen of this machine without importing anything: files, variables, metadata.

The places of CANN and of the driver are those of Huawei's installers; npu-smi's table is read as its
public documentation shows it. None of it was seen on Ascend hardware by this project.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kit.doctor.check import Check
from kit.machine.bounded import run_bounded
from kit.machine.cann import ASCEND, cann_home, cann_version, driver_version
from kit.machine.cures import cure_for
from kit.machine.memory import available_bytes
from kit.machine.processor import processor_name, usable_cores
from kit.weights.roots import hf_root
from kit.words import Reason

NPU_SMI_SECONDS = 4.0
_GB = 1e9
# Below these a run is likely to fail: an fp32 model of the kit's size, its copy and its weights' file.
_MEMORY_BYTES = 2 * _GB
_DISK_BYTES = 2 * _GB
_HAL = "libascend_hal.so"
# What npu-smi writes outside its table when it does not get what it asks for.
_COMPLAINT = re.compile(r"^[^|+\n]*(?:fail|error|ret is -)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts that more than one check needs. Versions are those of the metadata."""

    torch: str | None
    torch_cuda: str | None
    torch_npu: str | None
    npu_package: bool
    """Whether Python would find the package torch_npu, a simulation included."""
    native: bool
    """Whether it has its native library, without which it is no torch_npu."""
    cann_home: str | None
    cann: str | None
    nodes: int
    """How many NPUs the driver shows in /dev."""
    machine: str

    @property
    def wants_npu(self) -> bool:
        """Whether this machine is meant to use an NPU; a simulated one needs no CANN, no driver."""
        return self.torch_npu is not None or self.native or self.nodes > 0

    @property
    def fault(self) -> str:
        """The state of what an NPU needs and is not right: harmless where nobody wants one."""
        return "broken" if self.wants_npu else "warning"


def look() -> Machine:
    """Read the facts."""
    torch, npu = _folder("torch"), _folder("torch_npu")
    # The metadata lack the build (+cpu, +cu130) at times, and the CUDA that it was built for always.
    built = _text(torch / "version.py") if torch else ""
    version = re.search(r"^__version__\s*=\s*'([^']+)'", built, re.MULTILINE)
    cuda = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", built, re.MULTILINE)
    return Machine(
        torch=version[1] if version else installed("torch"),
        torch_cuda=cuda[1] if cuda else None,
        torch_npu=installed("torch_npu"),
        npu_package=npu is not None,
        native=npu is not None and (npu / "lib" / "libtorch_npu.so").is_file(),
        cann_home=cann_home(),
        cann=cann_version(),
        nodes=len(list(Path("/dev").glob("davinci[0-9]*"))),
        machine=platform.machine(),
    )


def installed(package: str) -> str | None:
    """The version in the package's metadata; None where it is not installed or its metadata is damaged."""
    try:
        version: str | None = importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, OSError, KeyError, ValueError):
        return None
    return version


def system(host: Machine) -> Iterator[Check]:
    """Operating system and processor."""
    name = processor_name() or platform.processor() or "unknown processor"
    found = (
        f"{platform.system()} {platform.release()}, {host.machine}, {name}, {usable_cores()} cores"
    )
    if host.wants_npu and (
        platform.system() != "Linux" or host.machine not in ("x86_64", "aarch64")
    ):
        cure = "torch_npu is made for Linux on x86_64 and aarch64: use such a host for the NPU"
        yield Check("system", "broken", found, cure)
    else:
        yield Check("system", "ok", found)


def python(_: Machine) -> Iterator[Check]:
    """The interpreter."""
    found = f"{platform.python_version()} ({sys.executable})"
    yield Check("Python", "ok", found)  # an older one has not come this far


def cann(host: Machine) -> Iterator[Check]:
    """CANN and whether its set_env.sh was sourced in this shell."""
    home = host.cann_home
    scripts = [*ASCEND.glob("ascend-toolkit/set_env.sh"), *ASCEND.glob("cann*/set_env.sh")]
    opp = os.environ.get("ASCEND_OPP_PATH")
    if home is None and scripts:
        cure = f"source {scripts[0]}, then run again"
        yield Check("CANN", host.fault, "installed, its environment is not set", cure)
    elif home is None and host.wants_npu:
        yield Check(
            "CANN",
            "broken",
            "no ASCEND_HOME_PATH: not installed, or not set",
            Reason("cure_partly_set"),
        )
    elif home is None:
        yield Check("CANN", "ok", "none, and none is needed without an NPU")
    elif not _is_folder(home):
        yield Check(
            "CANN",
            host.fault,
            f"no such folder: ASCEND_HOME_PATH={home}",
            Reason("cure_partly_set"),
        )
    elif not opp or not _is_folder(opp):
        found = f"no such folder: ASCEND_OPP_PATH={opp}" if opp else "ASCEND_OPP_PATH is not set"
        yield Check("CANN", host.fault, found, Reason("cure_partly_set"))
    elif host.cann is None:
        set_cann = Reason("cure_partly_set")
        cure = f"look for ascend_*_install.info below it, or install CANN again; {set_cann}"
        yield Check("CANN", "warning", f"{home}, of an unknown version", cure)
    else:
        yield Check("CANN", "ok", f"{host.cann} in {home}")


def driver(host: Machine) -> Iterator[Check]:
    """The Ascend driver: its library, its version, the devices that it shows."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    own = ASCEND / "driver" / "lib64"
    places = [*map(Path, filter(None, folders)), own, own / "driver", own / "common"]
    library = any((place / _HAL).is_file() for place in places)
    found = f"version {driver_version() or 'unknown'}, {host.nodes} NPUs in /dev"
    if library:
        yield Check("driver", "ok", found)
    elif host.wants_npu:
        yield Check("driver", "broken", f"no {_HAL}; {found}", Reason("cure_no_driver"))
    else:
        yield Check("driver", "ok", "none, and none is needed without an NPU")


def npu_smi(host: Machine) -> Iterator[Check]:
    """What the driver's own tool says of the cards."""
    path = shutil.which("npu-smi")
    if path is None:
        if host.nodes:
            cure = "put npu-smi on PATH (or into the container) to see who holds a card"
            yield Check("npu-smi", "warning", "not on PATH", cure)
        else:
            yield Check("npu-smi", "ok", "not on PATH, and no NPU in /dev to look at")
        return
    ended = run_bounded([path, "info"], NPU_SMI_SECONDS)
    said = f"{ended.out}\n{ended.err}"
    version = re.search(r"Version:\s*([^\s|]+)", said)
    # | 0     910B4               | OK            | ...
    cards = re.findall(r"^\|\s*\d+\s+([^\s|]+)\s*\|\s*([A-Za-z]+)\s*\|", ended.out, re.MULTILINE)
    if ended.code is None:
        found = f"npu-smi info did not return within {NPU_SMI_SECONDS:g} s"
        cure = "the driver is stuck: end what holds the card, reset it or reboot the host"
        yield Check("npu-smi", "broken", found, cure)
    elif ended.code != 0 or not cards or _COMPLAINT.search(said):
        # An old one ends with exit code 0 whatever it met.
        cure = cure_for(said) or "unknown to the kit: run npu-smi info by hand"
        state = host.fault if ended.code != 0 else "warning"
        yield Check("npu-smi", state, f"{ended.how()} and says: {_last_words(said)}", cure)
    elif sick := sorted({health for _, health in cards} - {"OK"}):
        found = f"{len(cards)} cards, health {', '.join(sick)}"
        yield Check("npu-smi", "warning", found, "npu-smi info -t health -i N tells of what")
    else:
        names = ", ".join(sorted({name for name, _ in cards}))
        found = f"version {version[1] if version else 'unknown'}; {len(cards)} cards: {names}"
        yield Check("npu-smi", "ok", found)


def _last_words(said: str) -> str:
    """The last line outside npu-smi's table, else the last one at all."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if line[0] not in "|+"), (lines or ["nothing"])[-1]
    )


def memory(_: Machine) -> Iterator[Check]:
    """What the reference on the CPU may take."""
    free = available_bytes()
    if free is None:
        yield Check("memory", "ok", "not told by this system")
    elif free < _MEMORY_BYTES:
        cure = "end other programs, or give the container more: the reference runs on the CPU"
        yield Check("memory", "warning", f"{free / _GB:.1f} GB are free", cure)
    else:
        yield Check("memory", "ok", f"{free / _GB:.1f} GB are free")


def disk(_: Machine) -> Iterator[Check]:
    """Room for weights in the Hugging Face cache."""
    root = hf_root()
    there = next(path for path in (root, *root.parents) if os.access(path, os.F_OK))
    free = shutil.disk_usage(there).free
    found = f"{free / _GB:.1f} GB are free in {root}"
    move = "set HF_HOME to a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        yield Check("disk", "warning", f"{root} cannot be written", f"{move} of yours")
    elif free < _DISK_BYTES:
        yield Check("disk", "warning", found, f"free some, or {move} on a larger disk")
    else:
        yield Check("disk", "ok", found)


def _folder(package: str) -> Path | None:
    """Where a package lies; it is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _is_folder(path: str) -> bool:
    with suppress(OSError):  # a folder that this user may not see is of no use
        return Path(path).is_dir()
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
