"""What goes into a published repository from this checkout: an allowlist, needing no git.

A published folder is a checkout itself: an export of an export has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kit.errors import CannotRunError
from kit.models.known import MODELS_ROOT

ROOT = MODELS_ROOT.parent

# The tests that pass whichever single model is there, and what they import; each goes as it is.
TESTS = (
    "conftest.py",
    "fork_server.py",
    "slow_metrics.py",
    "starting.py",
    "test_every_model.py",
    "test_house.py",
    "test_metrics.py",
    "test_simulated_npu.py",
    "test_verdict.py",
)
FOLDERS = ("kit", "installed_torch", "npu_host", "tests/simulated_npu")
_FILES = (
    "inference.py",
    "compare_accuracy.py",
    "constraints.txt",
    "requirements.txt",
    "requirements-npu.txt",
    "requirements-fast.txt",
    "requirements-report.txt",
    "requirements-dev.txt",
    "pyproject.toml",
    "LICENSE",
    "models/__init__.py",
    *(f"tests/{name}" for name in TESTS),
)
# Sources, configurations, small images: whatever else lies in a folder (weights, say) stays here.
_SUFFIXES = frozenset(
    ".py .json .toml .txt .md .html .css .js .svg .png .jpg .jpeg .jinja .j2 .yaml .yml".split()
)
_LARGEST = 5_000_000
# A repository is published with its evidence, which .gitignore of a checkout keeps out.
_GITIGNORE = Path(__file__).with_name("gitignore.txt")


def collect(model: str) -> tuple[dict[str, bytes], list[str]]:
    """The checkout's part of a repository for `model`, by path from its root, and the files that lie in
    its folders and do not go. Raises CannotRunError where a file cannot be read."""
    files = {name: _read(ROOT / name) for name in _FILES}
    left_out = []
    for folder in (*FOLDERS, f"models/{model}"):
        for path in _walk(ROOT / folder):
            name = path.relative_to(ROOT).as_posix()
            # A link could lead out of the checkout.
            if path.is_symlink() or path.suffix not in _SUFFIXES or path.stat().st_size > _LARGEST:
                left_out.append(name)
            else:
                files[name] = _read(path)
    files[".gitignore"] = _read(_GITIGNORE)
    return files, left_out


def is_generated(path: Path) -> bool:
    """Whether Python, pytest and the like made the file of this relative path: nobody misses it."""
    return any(
        part == "__pycache__" or (part.startswith(".") and part.endswith("_cache"))
        for part in path.parts
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, sorted, links not followed; no generated ones."""
    for path in sorted(folder.rglob("*")):
        generated = is_generated(path.relative_to(folder))
        if not generated and (path.is_symlink() or path.is_file()):
            yield path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotRunError(
            f"{path} cannot be read ({error.strerror}): an export needs the whole kit; take a fresh "
            "copy of it"
        ) from error
