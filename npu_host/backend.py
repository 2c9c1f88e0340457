"""A package without code, whose requirements are the torch and torch_npu that are already installed.

An Ascend host comes with a torch and a torch_npu that match its CANN. timm needs torchvision, each
torchvision needs exactly one torch, and pip takes the newest torchvision and replaces torch with the one
that it needs. A requirements file cannot say "the one that is there"; a package can, since its metadata
is made on the host (PEP 517). With torch pinned, pip goes back to the torchvision that fits it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

_NAME, _VERSION = "npu_host", "1"
_DIST_INFO = f"{_NAME}-{_VERSION}.dist-info"
_ASK = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def build_wheel(
    wheel_directory: str,
    config_settings: object = None,
    metadata_directory: str | None = None,
) -> str:
    """PEP 517: write the wheel, which holds nothing but metadata, and return its name."""
    name = f"{_NAME}-{_VERSION}-py3-none-any.whl"
    files = {
        "METADATA": _metadata(),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: npu_host\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{_DIST_INFO}/{file},,\n" for file in (*files, "RECORD"))
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for file, text in {**files, "RECORD": record}.items():
            wheel.writestr(f"{_DIST_INFO}/{file}", text)
    return name


def _metadata() -> str:
    versions = {package: _installed(package) for package in ("torch", "torch_npu", "torchvision")}
    if versions["torch"] is None:
        sys.exit(
            "requirements-npu.txt is for hosts that have torch and torch_npu; this Python has no "
            "torch: install the pair that matches CANN first, or take requirements.txt"
        )
    head = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {_VERSION}\n"
    pins = (f"Requires-Dist: {name}=={version}\n" for name, version in versions.items() if version)
    return head + "".join(pins)


def _installed(package: str) -> str | None:
    """The version that the user's Python sees: pip hides its packages from the build process."""
    hidden_by_pip = {"PYTHONPATH", "PYTHONNOUSERSITE"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden_by_pip}
    answer = subprocess.run(
        [sys.executable, "-c", _ASK, package], env=environment, capture_output=True, text=True
    )
    return answer.stdout.strip() if answer.returncode == 0 else None
