"""A package without code, whose requirements are the torch, torchvision and torch_npu already installed.

timm needs torchvision, each torchvision needs exactly one torch or one at least as new, and pip takes the
newest torchvision and replaces torch with the one that it needs. A requirements file cannot say "the one
that is there"; a package can, since its metadata is made on the machine (PEP 517). With torch pinned, pip
goes back to the torchvision that fits it. A torch outside the range of requirements.txt is left to pip,
unless a torch_npu stands beside it: that pair matches the host's CANN.

pip builds it before it looks for anything else: a Python that is too old ends here, with one line.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

NAME = "installed_torch"
_VERSION = "1"
_PYTHON = "3.11"
_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
_ASK = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"

if sys.version_info < tuple(map(int, _PYTHON.split("."))):
    sys.exit(
        f"error: this needs Python {_PYTHON} or newer, and this is {sys.version.split()[0]}: make the "
        f"virtual environment with a newer one"
    )


def build_wheel(
    wheel_directory: str,
    config_settings: object = None,
    metadata_directory: str | None = None,
) -> str:
    """PEP 517: write the wheel, which holds nothing but metadata, and return its name."""
    return write_wheel(Path(wheel_directory), NAME, pins())


def pins() -> dict[str, str]:
    """The packages that are to stay, each with its version."""
    versions = {name: installed(name) for name in ("torch", "torch_npu", "torchvision")}
    if versions["torch_npu"] is None and not _within_range(versions["torch"]):
        return {}
    return {name: version for name, version in versions.items() if version}


def installed(package: str) -> str | None:
    """The version that the user's Python sees: pip hides its packages from the build process."""
    hidden_by_pip = {"PYTHONPATH", "PYTHONNOUSERSITE"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden_by_pip}
    answer = subprocess.run(
        [sys.executable, "-c", _ASK, package], env=environment, capture_output=True, text=True
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


def write_wheel(folder: Path, name: str, requires: dict[str, str]) -> str:
    """Write a wheel without files whose metadata asks for exactly these versions; return its name."""
    head = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {_VERSION}\nRequires-Python: >={_PYTHON}\n"
    )
    files = {
        "METADATA": head + "".join(f"Requires-Dist: {p}=={v}\n" for p, v in requires.items()),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: {name}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    info = f"{name}-{_VERSION}.dist-info"
    record = "".join(f"{info}/{file},,\n" for file in (*files, "RECORD"))
    file_name = f"{name}-{_VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(folder / file_name, "w") as wheel:
        for file, text in {**files, "RECORD": record}.items():
            wheel.writestr(f"{info}/{file}", text)
    return file_name


def _within_range(version: str | None) -> bool:
    """Whether a torch is in the range that requirements.txt has for it: torch>=A,<=B."""
    [bounds] = re.findall(r"^torch>=([\d.]+),<=([\d.]+)$", _REQUIREMENTS.read_text("utf-8"), re.M)
    return version is not None and _release(bounds[0]) <= _release(version) <= _release(bounds[1])


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
