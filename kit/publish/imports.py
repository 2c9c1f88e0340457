"""Which files of a checkout its scripts and tests need: read from their imports, at any depth of a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Offers every command whose module is there: what it names, it does not need.
_OFFERS = "__main__.py"
_MODULE = re.compile(r"kit(?:\.\w+)+")


def reached(roots: Iterable[Path], checkout: Path) -> set[Path]:
    """`roots` and every file below `checkout` that they import, or start by its name.

    Raises OSError and SyntaxError for a file that cannot be read.
    """
    found: set[Path] = set()
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _needs(path, checkout)
    return found


def _needs(path: Path, checkout: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name, path.parent, checkout)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from _files(f"{node.module}.{alias.name}", path.parent, checkout)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A child process gets its file or its module by name.
            if _MODULE.fullmatch(node.value) and path.name != _OFFERS:
                yield from _files(node.value, path.parent, checkout)
            elif re.fullmatch(r"\w+\.py", node.value) and (path.parent / node.value).is_file():
                yield path.parent / node.value


def _files(module: str, beside: Path, checkout: Path) -> Iterator[Path]:
    """The files of the dotted `module` (its last part may be a name in it) and of the packages around it; a
    test finds modules beside it as well."""
    parts = module.split(".")
    for root in (checkout, beside):
        for length in range(1, len(parts) + 1):
            name = root.joinpath(*parts[:length])
            for path in (name.with_suffix(".py"), name / "__init__.py"):
                if path.is_file():
                    yield path
