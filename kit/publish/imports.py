"""Which files of a checkout its scripts and tests need: read from their imports, at any depth of a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

# Offers every command whose module is there: what it names, it does not need.
_OFFERS = "__main__.py"
# A child process gets its file or its module by name.
_STARTED = re.compile(r"""(["'])(kit(?:\.\w+)+|\w+\.py)\1""")


def reached(roots: Iterable[Path], checkout: Path) -> set[Path]:
    """`roots` and every file below `checkout` that they import, or start by its name.

    Raises OSError and SyntaxError for a file that cannot be read.
    """
    found: set[Path] = set()
    waiting = set(roots)
    while waiting:
        path = waiting.pop()
        found.add(path)
        waiting |= _needs(path, checkout) - found
    return found


@cache
def _needs(path: Path, checkout: Path) -> set[Path]:
    return set(_named(path, checkout))


def _named(path: Path, checkout: Path) -> Iterator[Path]:
    text = path.read_text("utf-8")
    for module in _imports(ast.parse(text).body):
        yield from _files(module, path.parent, checkout)
    for _, name in _STARTED.findall(text):
        if not name.endswith(".py"):
            yield from _files(name, path.parent, checkout) if path.name != _OFFERS else ()
        elif (path.parent / name).is_file():
            yield path.parent / name


def _imports(statements: Iterable[ast.AST]) -> Iterator[str]:
    """The dotted names that these statements import, or those in them."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        else:
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(statement, block, None)
                yield from _imports(inner) if isinstance(inner, list) else ()


@cache
def _files(module: str, beside: Path, checkout: Path) -> list[Path]:
    """The files of the dotted `module` (its last part may be a name in it) and of the packages around it; a
    test finds modules beside it as well."""
    parts = module.split(".")
    names = (
        root.joinpath(*parts[:length])
        for root in dict.fromkeys((checkout, beside))
        for length in range(1, len(parts) + 1)
    )
    paths = (path for name in names for path in (name.with_suffix(".py"), name / "__init__.py"))
    return [path for path in paths if path.is_file()]
