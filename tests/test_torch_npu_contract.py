"""What the kit uses of torch_npu is in torch_npu's wheels, and the simulation has nothing they lack.

The uses are read in the kit's sources and the API in the wheels', by their syntax trees: no list is kept,
nothing is imported. Where a wheel cannot be had, the test fails: nobody shall think that it was checked.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, SIMULATED_NPU
from npu_sources import Package, parameters
from npu_uses import Use, uses_in

from kit.run.fallback import fallback_ops

# Of the reports' CANN 8.5, of CANN 9.0, and the newest that the kit is run with.
VERSIONS = ("2.9.0", "2.9.0.post2", "2.13.0", "2.14.0")
NEWEST = VERSIONS[-1]
every_version = pytest.mark.parametrize(
    "version",
    [  # a developer's change is seen in the newest, an older wheel by .ci/full
        pytest.param(version, marks=pytest.mark.full if version != NEWEST else ())
        for version in VERSIONS
    ],
)


@cache
def wheel_of(version: str) -> Path:
    """The wheel, for whichever Python this index has one: only its sources and texts are read."""
    folder = Path(tempfile.mkdtemp(prefix="torch_npu-"))
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "-d", str(folder), f"torch_npu=={version}"]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        pytest.fail(f"torch_npu {version} WAS NOT CHECKED: no wheel of it:\n{process.stderr}")
    [path] = folder.glob("torch_npu-*.whl")
    return path


def library_of(version: str) -> bytes:
    with zipfile.ZipFile(wheel_of(version)) as archive:
        return archive.read("torch_npu/lib/libtorch_npu.so")


@cache
def uses() -> list[Use]:
    """Every use in the kit, the scripts and the models."""
    paths = [
        path for pattern in ("*.py", "kit/**/*.py", "models/**/*.py") for path in ROOT.glob(pattern)
    ]
    found = [use for path in paths for use in uses_in(path.read_text("utf-8"), path.name)]
    assert found
    return found


@every_version
def test_importing_torch_npu_loads_its_native_library(version: str) -> None:
    """Which is what tells a real one: the extension module needs it by name."""
    with zipfile.ZipFile(wheel_of(version)) as archive:
        [module] = [name for name in archive.namelist() if re.fullmatch(r"torch_npu/_C\.\S+", name)]
        assert b"\0libtorch_npu.so\0" in archive.read(module)


@every_version
def test_every_name_that_the_kit_uses_is_in_the_wheel(version: str) -> None:
    package = Package(wheel_of(version))
    # One that the kit does without where it is not there must at least be in the newest.
    needed = [use for use in uses() if not use.optional or version == NEWEST]
    assert [why for use in needed if (why := package.complaint(use))] == []


def test_every_name_that_the_kit_uses_is_in_the_simulation() -> None:
    package = Package(SIMULATED_NPU)
    assert [why for use in uses() if (why := package.complaint(use))] == []


def test_the_simulation_has_nothing_that_the_wheel_lacks() -> None:
    simulated, real = Package(SIMULATED_NPU), Package(wheel_of(NEWEST))
    modules = sorted(path.stem for path in (SIMULATED_NPU / "torch_npu" / "npu").glob("[!_]*.py"))
    assert "npu_config" in modules
    named = {("npu",): list[str]()} | {
        path: names
        for module in ((), *[(module,) for module in modules])
        for path, names in simulated.public_functions(("npu", *module)).items()
    }
    assert len(named) > 30
    for path, names in named.items():
        found = real.resolve(path)
        assert found is not None, path
        if names:
            assert parameters(found.node)[: len(names)] == names, path


def test_the_uses_are_found() -> None:
    """The collector does not miss what it is there for."""
    paths = {".".join(use.path) for use in uses()}
    assert {"npu.conv.allow_hf32", "npu.matmul.allow_hf32", "npu.set_option"} <= paths
    assert {"npu.are_compatible_impl_enabled", "npu.utils.get_cann_version"} <= paths
    text = (ROOT / "kit" / "devices" / "npu.py").read_text("utf-8")
    mentioned = set(re.findall(r"(?:self\._npu|torch\.npu)\.(\w+)", text))
    assert mentioned <= {use.path[1] for use in uses() if len(use.path) > 1}


BOGUS = {
    "torch.npu.is_avialable()": "npu.is_avialable does not exist",
    "x = torch.npu\nx.utils.get_driver_version()": "get_driver_version does not exist",
    "class A:\n def f(self):\n  self.n = torch.npu\n  return self.n.matmul.alow_hf32": "alow_hf32",
    "getattr(torch.npu, 'bogus')": "npu.bogus does not exist",
    "getattr(torch, 'npu').bogus": "npu.bogus does not exist",
    "set_flags(wanted, torch.npu, 'conv.alow_hf32')": "conv.alow_hf32 does not exist",
    "importlib.import_module('torch_npu.bogus')": "torch_npu.bogus does not exist",
    "import torch_npu\ntorch_npu.npu.bogus": "npu.bogus does not exist",
    "from torch_npu.npu import bogus": "npu.bogus does not exist",
    "def f():\n return importlib.import_module('torch_npu')\nf().npu.bogus": "npu.bogus does not",
    "torch.npu.is_available(0)": "takes 0 arguments, 1 are given",
    "torch.npu.set_compile_mode(jit=False)": "has no parameter jit",
    "torch.npu.set_option()": "lacks option",
    "torch.npu.set_option({'ACL_PRECISION_MODE': 'keep'})": "knows no ACL_PRECISION_MODE=keep",
    "torch.npu.set_option({'ACL_PRECISON_MODE': 'must_keep_origin_dtype'})": "knows no ACL_PRECISON",
    "torch.npu.config()": "is no function",
    "torch.npu.memory_stats().get('bogus')": "",
}


def test_a_bogus_name_would_be_found() -> None:
    package = Package(wheel_of(NEWEST))
    for text, words in BOGUS.items():
        found = [why for use in uses_in(text, "x.py") if (why := package.complaint(use))]
        assert (words in found[0]) if words else found == [], (text, found)


# ---- texts -------------------------------------------------------------------------------------


def test_every_variable_of_torch_npu_that_the_kit_names_is_read_by_it() -> None:
    text = "".join(path.read_text("utf-8") for path in ROOT.glob("kit/**/*.py"))
    names = set(re.findall(r"\b(?:PY)?TORCH_NPU_[A-Z_]+\b", text))
    assert len(names) > 4
    library = library_of(NEWEST)
    assert [name for name in sorted(names) if name.encode() not in library] == []


@every_version
def test_every_fallback_line_of_the_wheel_is_understood(version: str) -> None:
    """Every whole text about a fallback in the library, besides the one that is put together there."""
    library = library_of(version)
    pattern = rb"CAUTION: The operator '?aten::[^\0\n]*|CPU fallback is allowed [^\0\n]*"
    found = {line.decode() for line in re.findall(pattern, library)}
    lines = [line for line in found if re.search("fall ?back", line)]
    assert len(lines) >= 5
    for line in lines:
        named = re.search(r"aten::[\w.]+", line)
        assert named and fallback_ops(line) == [named[0]], line
    assert b"on the NPU backend and will fall back to run on the CPU." in library
