"""What goes into a published repository from this checkout: what its scripts and tests need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kit.errors import CannotRunError
from kit.models.known import MODELS_ROOT
from kit.publish.imports import reached
from kit.storage.file_kinds import kind_of_bytes

ROOT = MODELS_ROOT.parent

SCRIPTS = ("inference.py", "compare_accuracy.py")
# The tests that pass whichever single model is there.
TESTS = (
    "conftest.py",
    "test_every_model.py",
    "test_house.py",
    "test_metrics.py",
    "test_simulated_npu.py",
    "test_verdict.py",
)
# Folders that go as they are, beside the model's own.
FOLDERS = ("installed_torch", "npu_host", "tests/simulated_npu")
_FILES = (
    "constraints.txt",
    "requirements.txt",
    "requirements-npu.txt",
    "requirements-fast.txt",
    "requirements-dev.txt",
    "pyproject.toml",
    "LICENSE",
    ".gitattributes",
)
# Sources, configurations, small images, a sound: whatever else lies in a folder (weights, say) stays here.
_SUFFIXES = frozenset(
    ".py .json .toml .txt .md .html .css .js .svg .png .jpg .jpeg .wav .jinja .j2 .yaml .yml".split()
)
_LARGEST = 5_000_000
# Git, sha256sum and every system can have it.
_NAME = re.compile(r"[\w.+-]+(?:/[\w.+-]+)*", re.ASCII)
# A repository is published with its evidence, which .gitignore of a checkout keeps out.
_GITIGNORE = Path(__file__).with_name("gitignore.txt")


def collect(model: str, commands: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
    """The checkout's part of a repository for `model`, by path from its root, and the files that lie in
    its folders and do not go. `commands`: the modules of the further commands that its pages name.

    Raises CannotRunError where a file cannot be read.
    """
    roots = [*SCRIPTS, "models/__init__.py", "kit/__main__.py", *commands]
    roots += [f"tests/{name}" for name in TESTS]
    roots += [_named(path) for path in _walk(ROOT / "models" / model) if path.suffix == ".py"]
    try:
        needed = {_named(path) for path in reached((ROOT / name for name in roots), ROOT)}
    except (OSError, SyntaxError) as error:
        raise CannotRunError(
            f"{error}: an export needs the whole kit", "take a fresh copy of it"
        ) from error
    packages = {name.rpartition("/")[0] for name in needed if name.startswith("kit/")}
    data, left_out = [], []
    for folder in (*FOLDERS, f"models/{model}", "kit"):
        for path in _walk(ROOT / folder):
            name = _named(path)
            # Of the kit: what stands beside the modules that go, such as templates and schemas.
            if folder == "kit" and (path.suffix == ".py" or _package(path) not in packages):
                continue
            foreign = path.suffix not in _SUFFIXES or not _NAME.fullmatch(name)
            # A link could lead out of the checkout.
            if foreign or path.is_symlink() or path.stat().st_size > _LARGEST:
                left_out.append(name)
            else:
                data.append(name)
    files = {name: _read(ROOT / name) for name in (*_FILES, *needed, *data)}
    files[".gitignore"] = _read(_GITIGNORE)
    return files, left_out


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _package(path: Path) -> str:
    """The package that a data file belongs to: the next folder above it that is one."""
    return next(_named(each) for each in path.parents if (each / "__init__.py").is_file())


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
    if path.is_symlink():
        raise CannotRunError(
            f"{path} is a link: an export takes plain files", "take a fresh copy of the kit"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CannotRunError(
            f"{path} cannot be read ({error.strerror}): an export needs the whole kit",
            "take a fresh copy of it",
        ) from error
    if (kind := kind_of_bytes(content)).code == "lfs-pointer":
        raise CannotRunError(f"{path} is {kind.words}", kind.cure)
    return content
