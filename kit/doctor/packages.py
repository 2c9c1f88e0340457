"""Python packages by their metadata, before anything is imported: a broken one may end the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from kit.devices.versions import release_of, versions_match
from kit.doctor.check import Check
from kit.doctor.host import Machine, installed
from kit.errors import CannotRunError
from kit.machine.variables import LIBRARIES, check_numbers

_ROOT = Path(__file__).resolve().parents[2]
_REQUIREMENT = re.compile(r"([A-Za-z][\w.-]*)\s*([<>=!~].*)?")
# CANN and the torch_npu documented with it, each for the torch whose release it has (docs/usage.md).
_ROWS = {
    "8.5": ("2.9.0", "2.8.0.post2", "2.7.1.post2", "2.6.0.post5"),
    "9.0": ("2.9.0.post2", "2.8.0.post4", "2.7.1.post4"),
    "9.1": ("2.12.0", "2.11.0", "2.10.0.post4", "2.9.0.post6"),
}
# In no row, and yet what the published reports ran on: CANN 8.5.1.
_REPORTS = ("8.5", "2.9.0.post1")


def torch_pair(host: Machine) -> Iterator[Check]:
    """torch, torch_npu, and whether they belong together."""
    name = "torch, torch_npu"
    npu = f"torch_npu {host.torch_npu}"
    both = f"torch {host.torch}, {npu if host.torch_npu else 'no torch_npu'}"
    if host.torch is None:
        cure = _install(host) if host.wants_npu else "pip install -r requirements.txt"
        yield Check(name, "broken", "torch is not installed", cure)
    elif host.torch_npu is not None and not versions_match(host.torch_npu, host.torch):
        found = f"{npu} does not match torch {host.torch}"
        yield Check(name, "broken", found, f"install a pair that matches, {_install(host)}")
    elif host.torch_cuda is not None and host.native:
        found = f"{both}: a CUDA build of torch, beside which torch_npu aborts the process"
        cure = f"install the CPU build of the same version: {_torch_command(host, release_of(host.torch))}"
        yield Check(name, "broken", found, cure)
    elif host.torch_npu is not None and not host.npu_package:
        cure = f"pip install --force-reinstall --no-deps torch_npu=={host.torch_npu}"
        yield Check(name, "broken", f"{both} by its metadata, but the package is not there", cure)
    elif host.torch_npu is None and host.npu_package:
        found = f"{both} installed, but one on the path: a simulation or a source tree"
        yield Check(name, "warning", found, "for a real NPU install the wheel that matches torch")
    elif host.torch_npu is None and host.nodes:
        found = f"{both} beside {host.nodes} NPUs in /dev"
        yield Check(name, "broken", found, f"install a pair that matches, {_install(host)}")
    else:
        yield Check(name, "ok", both)


def versions_row(host: Machine) -> Iterator[Check]:
    """Which row of the documented versions this host is on, and what to install where on none."""
    name, npu = "version row", host.torch_npu
    if host.cann is not None:
        series = _series(host)
        row = _ROWS.get(series, ())
        if npu in row:
            yield Check(name, "ok", f"CANN {host.cann} with torch_npu {npu}, as documented")
        elif (series, npu) == _REPORTS:
            found = f"CANN {host.cann} with torch_npu {npu}: what the published reports ran on"
            yield Check(name, "ok", found)
        elif row:
            found = (
                f"CANN {host.cann} is documented with torch_npu {', '.join(row)}, not with {npu}"
            )
            yield Check(name, "warning", found, _install(host))
        else:
            rows = "; ".join(f"CANN {cann}.0: {row[0]}" for cann, row in _ROWS.items())
            found = f"CANN {host.cann} is in no row ({rows})"
            yield Check(name, "warning", found, f"install one that is; {_install(host)}")
    elif npu is not None:
        series = next((cann for cann, row in _ROWS.items() if npu in row), "")
        if series:
            found = f"torch_npu {npu} is documented for CANN {series}.0, which is not seen here"
            cure = f"install CANN {series}.0, and source its set_env.sh"
        else:
            found = f"torch_npu {npu} is in no documented row, and no CANN is seen here"
            cure = _install(host)
        yield Check(name, "warning", found, cure)
    elif host.nodes:
        found = "an NPU, but neither CANN nor torch_npu"
        yield Check(name, "warning", found, f"install both; {_install(host)}")
    else:
        yield Check(name, "ok", "none: neither CANN nor torch_npu is installed")


def libraries(host: Machine) -> Iterator[Check]:
    """Everything that the requirements name, within their ranges."""
    file = "requirements-npu.txt" if host.wants_npu else "requirements.txt"
    missing, outside, inside = [], [], []
    for package, wanted in _requirements(_ROOT / file):
        version = installed(package)
        if version is None:
            missing.append(package)
        elif not _within(version, wanted):
            outside.append(f"{package} {version} is not {wanted}")
        elif package in ("transformers", "timm", "huggingface_hub"):
            inside.append(f"{package} {version}")
    cure = f"pip install -r {file}"
    if missing:
        found = f"not installed: {', '.join(missing)}"
        yield Check("libraries", "broken", "; ".join([found, *outside]), cure)
    elif outside:
        yield Check("libraries", "warning", "; ".join(outside), cure)
    else:
        yield Check("libraries", "ok", f"{', '.join(inside)} and the rest of {file}")


def variables() -> Iterator[Check]:
    """What a library could not be imported for."""
    try:
        check_numbers(*LIBRARIES)
    except CannotRunError as error:
        yield Check("variables", "broken", str(error.what), str(error.cure))
    else:
        yield Check("variables", "ok", "none that the libraries cannot read")


def _requirements(file: Path) -> Iterator[tuple[str, str]]:
    """The packages that a requirements file names, with their ranges; files it includes left out."""
    for line in file.read_text("utf-8").splitlines():
        if match := _REQUIREMENT.fullmatch(line.partition("#")[0].strip()):
            yield match[1], match[2] or ""


def _within(version: str, wanted: str) -> bool:
    """Whether a version is in a range of the forms that the requirements use: >=A, <B and <=B."""
    for bound in filter(None, wanted.split(",")):
        relation = _compare(version, bound.lstrip("<>="))
        if not {">=": relation >= 0, "<=": relation <= 0}.get(bound[:2], relation < 0):
            return False
    return True


def _compare(one: str, other: str) -> int:
    """-1, 0 or 1 by the numbers of the releases, missing ones being zeros."""
    numbers = [re.match(r"\d+(\.\d+)*", version) for version in (one, other)]
    parts = [map(int, match[0].split(".")) if match else iter(()) for match in numbers]
    for left, right in zip_longest(*parts, fillvalue=0):
        if left != right:
            return -1 if left < right else 1
    return 0


def _install(host: Machine) -> str:
    """The commands for a documented pair: of CANN's row, else of torch_npu's own, else of any.

    Within these the pair for the torch that is here, else the newest.
    """
    every = [(series, npu) for series in sorted(_ROWS, reverse=True) for npu in _ROWS[series]]
    pairs = (
        [pair for pair in every if pair[0] == _series(host)]
        or [pair for pair in every if pair[1] == host.torch_npu]
        or every
    )
    release = release_of(host.torch or "")
    series, npu = next((pair for pair in pairs if release_of(pair[1]) == release), pairs[0])
    torch = _torch_command(host, release_of(npu))
    return f"for CANN {series}.0: {torch} && pip install torch_npu=={npu}"


def _series(host: Machine) -> str:
    return ".".join((host.cann or "").split(".")[:2])


def _torch_command(host: Machine, release: str | None) -> str:
    """PyPI's torch for x86-64 is a CUDA build; the CPU build is on PyTorch's own index."""
    if host.machine == "x86_64":
        return f"pip install torch=={release}+cpu --index-url https://download.pytorch.org/whl/cpu"
    return f"pip install torch=={release}"
