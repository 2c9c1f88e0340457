"""What the kit uses of torch_npu, read in the kit's sources; npu_sources.py reads the other side.

Nothing is imported or run. A name of torch_npu is a path below the package: torch.npu is ("npu",). Paths
are followed through variables, `self.x`, getattr() with a literal, import_module() and functions of the
module that return one; a call that is handed one together with literal names, such as
set_flags(requested, torch.npu, "conv.allow_hf32"), uses those names of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NpuPath = tuple[str, ...]
PACKAGE = "torch_npu"


@dataclass(frozen=True)
class Use:
    """One use of a name; `positional` and `keywords` are of its call, None where it is not called."""

    path: NpuPath
    where: str
    optional: bool = False
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    """The literal dict that it is called with."""

    @property
    def name(self) -> str:
        return ".".join((PACKAGE, *self.path))


def uses_in(text: str, where: str) -> list[Use]:
    """Every use of torch_npu in a module's source."""
    tree = ast.parse(text)
    reader = _Reader(where)
    reader.learn(tree)
    found = [use for use in reader.uses(tree) if use.path and not use.path[-1].startswith("__")]
    return list(dict.fromkeys(found))


class _Reader:
    def __init__(self, where: str) -> None:
        self.where = where
        self.known: dict[str, tuple[NpuPath, bool]] = {}
        """Variables and attributes of self that stand for a path, and whether it may be absent."""
        self.returned: dict[str, tuple[NpuPath, bool]] = {}
        """Functions that return one."""

    def learn(self, tree: ast.Module) -> None:
        """Twice: a variable may be used above the function that gives it its value."""
        for node in [*ast.walk(tree), *ast.walk(tree)]:
            targets: list[ast.expr] = []
            value: ast.expr | None = None
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
                targets, value = [node.target], node.value
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._learn_import(node)
            elif isinstance(node, ast.FunctionDef):
                for part in ast.walk(node):
                    given = part.value if isinstance(part, ast.Return) else None
                    if given is not None and (path := self.path(given)) is not None:
                        self.returned[node.name] = path
            if value is not None and (found := self.path(value)) is not None:
                self.known |= {ast.unparse(target): found for target in targets}

    def _learn_import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = getattr(node, "module", None)
        for alias in node.names:
            full = f"{module}.{alias.name}" if module else alias.name
            steps = full.split(".")
            if steps[0] == PACKAGE or steps[:2] == ["torch", "npu"]:
                path = tuple(steps[1:])
                whole = isinstance(node, ast.Import) and alias.asname is None
                if not whole:
                    self.known[alias.asname or alias.name] = (path, False)
                elif steps[0] == PACKAGE:
                    self.known[PACKAGE] = ((), False)

    def path(self, node: ast.expr) -> tuple[NpuPath, bool] | None:
        """The path that an expression stands for, and whether it may lack; None for any other."""
        text = ast.unparse(node)
        if text == "torch.npu":
            return ("npu",), False
        if text in self.known:
            return self.known[text]
        if isinstance(node, ast.Attribute) and (below := self.path(node.value)) is not None:
            return (*below[0], node.attr), below[1]
        if isinstance(node, ast.IfExp):
            return self.path(node.body) or self.path(node.orelse)
        return self._path_of_call(node) if isinstance(node, ast.Call) else None

    def _path_of_call(self, node: ast.Call) -> tuple[NpuPath, bool] | None:
        function = ast.unparse(node.func)
        literals = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        name = literals[0] if literals and isinstance(literals[0], str) else None
        if function == "getattr" and name is not None:
            below = self.path(node.args[0])
            if ast.unparse(node.args[0]) == "torch" and name == "npu":
                return ("npu",), False
            return below and ((*below[0], name), len(node.args) == 3)
        if function.endswith(("import_module", "__import__")) and name is not None:
            steps = name.split(".")
            return (tuple(steps[1:]), False) if steps[0] == PACKAGE else None
        return self.returned.get(function)

    def uses(self, tree: ast.Module) -> Iterator[Use]:
        for node in ast.walk(tree):
            place = f"{self.where}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                for path, _ in self._imported(node):
                    yield Use(path, place)
            elif isinstance(node, ast.Attribute | ast.Call):
                if (found := self.path(node)) is not None:
                    yield Use(found[0], place, found[1])
                if isinstance(node, ast.Call):
                    yield from self._uses_of_call(node, place)

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[NpuPath, bool]]:
        names = [alias.asname or alias.name for alias in node.names]
        return (self.known[name] for name in names if name in self.known)

    def _uses_of_call(self, node: ast.Call, place: str) -> Iterator[Use]:
        if (called := self.path(node.func)) is not None:
            yield Use(
                called[0],
                place,
                called[1],
                len(node.args),
                tuple(keyword.arg for keyword in node.keywords if keyword.arg),
                tuple(_literal_options(node.args)),
            )
        given = [found for arg in node.args if (found := self.path(arg)) is not None]
        names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        for path, _ in given if ast.unparse(node.func) != "getattr" else []:
            for name in names:
                if isinstance(name, str) and all(step.isidentifier() for step in name.split(".")):
                    yield Use((*path, *name.split(".")), place)


def _literal_options(arguments: Iterable[ast.expr]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        if isinstance(argument, ast.Dict):
            for key, value in zip(argument.keys, argument.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                    yield str(key.value), str(value.value)
