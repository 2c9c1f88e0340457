"""What a torch_npu has, read in its sources, in a wheel or a folder: nothing is imported or run."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from npu_uses import PACKAGE, NpuPath, Use


@dataclass(frozen=True)
class Found:
    """What a name stands for: a module, or a node of its module's source; `made`: an instance of it."""

    module: str
    node: ast.AST | None = None
    made: bool = False


@dataclass(frozen=True)
class Package:
    """The sources of a torch_npu: of a wheel, or of a folder that holds the package."""

    place: Path

    def text(self, name: str) -> str | None:
        """The file `name` below the folder or in the archive, None where there is none."""
        if self.place.is_dir():
            path = self.place / name
            return path.read_text("utf-8") if path.is_file() else None
        with zipfile.ZipFile(self.place) as archive:
            return archive.read(name).decode() if name in archive.NameToInfo else None

    def complaint(self, use: Use) -> str | None:
        """Why the use would fail here; None where it would not."""
        found = self.resolve(use.path)
        if found is None:
            return f"{use.where}: {use.name} does not exist"
        if use.positional is not None:
            if problem := _misfit(found, use):
                return f"{use.where}: {use.name}() {problem}"
            for key, value in use.options:
                if value not in self._values_of(found.module, key):
                    return f"{use.where}: {use.name} knows no {key}={value}"
        return None

    def resolve(self, path: NpuPath) -> Found | None:
        found: Found | None = Found(PACKAGE)
        for name in path:
            found = found and self._member(found, name)
        return found

    def _member(self, owner: Found, name: str) -> Found | None:
        if owner.node is None:
            return self._in_module(owner.module, name)
        return self._in_class(owner, name) if isinstance(owner.node, ast.ClassDef) else None

    def _in_class(self, owner: Found, name: str) -> Found | None:
        assert isinstance(owner.node, ast.ClassDef)
        hooks = []
        for part in owner.node.body:
            if isinstance(part, ast.FunctionDef):
                if part.name == name:
                    return Found(owner.module, part)
                if part.name in ("__getattr__", "__setattr__"):
                    hooks.append(part)
        # An attribute that only such functions know: each of them must.
        if hooks and all(name in _compared(hook) for hook in hooks):
            return Found(owner.module, hooks[0])
        return None

    def _in_module(self, module: str, name: str) -> Found | None:
        for part in _statements(_tree(self, module)):
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and part.name == name:
                return Found(module, part)
            if isinstance(part, ast.Assign) and name in map(ast.unparse, part.targets):
                return self._value(module, part.value)
            if isinstance(part, ast.ImportFrom):
                source = _absolute(module, part, self)
                if source == module or not _is_own(source):
                    continue  # from . import submodule; another library's
                for alias in part.names:
                    if (alias.asname or alias.name) == name:
                        return self._in_module(source, alias.name)
                    if alias.name == "*" and self._exports(source, name):
                        return self._in_module(source, name)
        submodule = f"{module}.{name}"
        return Found(submodule) if _file(self, submodule) else None

    def _value(self, module: str, value: ast.expr) -> Found | None:
        if isinstance(value, ast.Call):
            found = self._dotted(module, value.func)
            return Found(found.module, found.node, made=True) if found else Found(module, value)
        return self._dotted(module, value) or Found(module, value)

    def _dotted(self, module: str, value: ast.expr) -> Found | None:
        if isinstance(value, ast.Name):
            return self._in_module(module, value.id)
        if isinstance(value, ast.Attribute):
            owner = self._dotted(module, value.value)
            return self._member(owner, value.attr) if owner else None
        return None

    def _exports(self, module: str, name: str) -> bool:
        """Whether `from module import *` brings the name."""
        for part in _statements(_tree(self, module)):
            if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__all__":
                return name in ast.literal_eval(part.value)
        return not name.startswith("_") and self._in_module(module, name) is not None

    def _values_of(self, module: str, option: str) -> list[str]:
        """The values that a dict of the module, by its literal, allows for an option."""
        for part in _statements(_tree(self, module)):
            if isinstance(part, ast.Assign) and isinstance(part.value, ast.Dict):
                for key, value in zip(part.value.keys, part.value.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == option:
                        return [str(each) for each in ast.literal_eval(value)]
        return []

    def public_functions(self, path: NpuPath) -> dict[NpuPath, list[str]]:
        """The functions and classes that the module at `path` defines and makes public, by their
        paths, with the names of their parameters."""
        found = self.resolve(path)
        assert found is not None and found.node is None, path
        return {
            (*path, part.name): parameters(part)
            for part in _statements(_tree(self, found.module))
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and not part.name.startswith("_")
        }


@cache
def _tree(package: Package, module: str) -> ast.Module:
    return ast.parse(package.text(_file(package, module) or "") or "")


@cache
def _file(package: Package, module: str) -> str | None:
    stem = module.replace(".", "/")
    names = (f"{stem}.py", f"{stem}/__init__.py")
    return next((name for name in names if package.text(name) is not None), None)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Those of the module itself, under `if` and `try` too, the last binding first."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting += ast.iter_child_nodes(part)
        elif isinstance(part, ast.stmt):
            yield part


def _absolute(module: str, node: ast.ImportFrom, package: Package) -> str:
    if not node.level:
        return node.module or ""
    is_package = (_file(package, module) or "").endswith("__init__.py")
    steps = module.split(".")
    steps = steps[: len(steps) - node.level + is_package]
    return ".".join([*steps, *filter(None, [node.module])])


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _compared(function: ast.FunctionDef) -> set[object]:
    return {
        part.value
        for compare in ast.walk(function)
        if isinstance(compare, ast.Compare)
        for part in compare.comparators
        if isinstance(part, ast.Constant)
    }


def _callable_of(node: ast.AST | None) -> ast.FunctionDef | None:
    if isinstance(node, ast.ClassDef):
        made = [part for part in node.body if getattr(part, "name", "") in ("__init__", "__new__")]
        node = made[0] if made else None
    return node if isinstance(node, ast.FunctionDef) else None


def parameters(node: ast.AST | None) -> list[str]:
    """Names in order, without self and cls; none where the node cannot be called."""
    function = _callable_of(node)
    if function is None:
        return []
    args = function.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def _name(argument: ast.arg) -> str:
    return argument.arg


def _misfit(found: Found, use: Use) -> str | None:
    function = _callable_of(found.node)
    if found.made or (function is None and not isinstance(found.node, ast.ClassDef | ast.expr)):
        return "is no function"
    if function is None:  # a value of unknown origin, a class without a constructor of its own
        return None
    args = function.args
    names = [name for name in parameters(function) if name not in map(_name, args.kwonlyargs)]
    assert use.positional is not None
    if use.positional > len(names) and args.vararg is None:
        return f"takes {len(names)} arguments, {use.positional} are given"
    by_name = {*names[use.positional :], *map(_name, args.kwonlyargs)}
    if args.kwarg is None and (unknown := set(use.keywords) - by_name):
        return f"has no parameter {', '.join(sorted(unknown))}"
    needed = set(names[use.positional : len(names) - len(args.defaults)])
    needed |= {
        arg.arg
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
        if default is None
    }
    missing = needed - set(use.keywords)
    return f"lacks {', '.join(sorted(missing))}" if missing else None
