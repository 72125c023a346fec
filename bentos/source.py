"""The source of a function with all that it uses from its own folder, as a digest that no comment or layout changes.

Of each module only what the function needs counts: the definitions that it names, those that these name, and what is
imported from the folder, likewise; statements that define nothing (`Image.MAX_IMAGE_PIXELS = …`) always do. What comes
from outside the folder counts by its import alone.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

IGNORED = ("ctx", "kind", "type_comment")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
EVERYTHING = "*"


@cache
def source_digest(function: Callable[..., Any], home: str) -> str:
    """sha256 of the source of a function; of all of `home`, the model's module, where it is no plain function."""
    module = getattr(function, "__module__", None) or home
    name = getattr(function, "__qualname__", "").partition(".")[0]
    if name not in Source.of(module).definitions:
        module, name = (home if home in sys.modules else module), EVERYTHING
    walk = Walk(module.rpartition(".")[0])
    walk.visit(module, name)
    text = "\n".join(f"{part[0]} {statement}" for part, statement in sorted(walk.parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()


class Source:
    """A module's top-level statements, imports of several names as one each, and which of them define a name."""

    def __init__(self, tree: ast.Module) -> None:
        self.statements = [single for node in tree.body if not _is_docstring(node) for single in _singles(node)]
        self.definitions: dict[str, list[int]] = {}
        self.others: list[int] = []
        for place, node in enumerate(self.statements):
            names = list(_defined(node))
            for name in names:
                self.definitions.setdefault(name, []).append(place)
            if not names:
                self.others.append(place)

    @classmethod
    def of(cls, module: str) -> Source:
        """The source of a module; empty where it has none (a builtin)."""
        spec = importlib.util.find_spec(module)
        file = Path(spec.origin) if spec is not None and spec.origin else Path()
        return cls(ast.parse(file.read_bytes() if file.suffix == ".py" else b""))


class Walk:
    """The statements that are needed, by module and place."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.parts: dict[tuple[str, int], str] = {}
        self._sources: dict[str, Source] = {}

    def visit(self, module: str, name: str) -> None:
        """Add what defines `name` in a module, or everything in it, and all that this needs from the package."""
        source = self._sources.get(module) or self._sources.setdefault(module, Source.of(module))
        everything = range(len(source.statements))
        pending = [*(everything if name == EVERYTHING else source.definitions.get(name, [])), *source.others]
        while pending:
            place = pending.pop()
            if (module, place) in self.parts:
                continue
            self.parts[module, place] = canonical(source.statements[place])
            for node in ast.walk(source.statements[place]):
                if isinstance(node, ast.Name):
                    pending += source.definitions.get(node.id, [])
                for imported, inner in self._imports(node, module):
                    self.visit(imported, inner)

    def _imports(self, node: ast.AST, module: str) -> Iterator[tuple[str, str]]:
        """(module of the package, name in it) of what an import statement takes from the package."""
        if isinstance(node, ast.Import):
            yield from ((alias.name, EVERYTHING) for alias in node.names if self._has(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, module.rpartition(".")[0])
            for alias in node.names if self._has(base) else ():
                module_in_it = _is_module(base, alias.name)
                yield (f"{base}.{alias.name}", EVERYTHING) if module_in_it else (base, alias.name)

    def _has(self, module: str) -> bool:
        return bool(self.package) and f"{module}.".startswith(f"{self.package}.")


def canonical(node: Any) -> str:
    """A syntax tree as text that is the same in every Python: without positions, docstrings and what is empty."""
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    values = {name: value for name, value in ast.iter_fields(node) if name not in IGNORED and value not in (None, [])}
    if isinstance(node, DEFINITIONS) and _is_docstring(node.body[0]):
        values["body"] = node.body[1:]
    return f"{type(node).__name__}({','.join(f'{name}={canonical(value)}' for name, value in values.items())})"


def _singles(node: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(node, ast.Import):
        yield from (ast.Import([alias]) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
    else:
        yield node


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, DEFINITIONS):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [inner for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
        yield from (inner.id for inner in names if isinstance(inner.ctx, ast.Store))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_module(package: str, name: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:  # no package, so nothing in it is a module
        return False
    return importlib.util.find_spec(f"{package}.{name}") is not None
