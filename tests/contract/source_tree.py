# SPDX-License-Identifier: Apache-2.0
"""Source files as syntax trees: their names, their imports, and the texts that they assemble."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HOLE: Final = "\ufffc"
"""Stands in a text for a part that is known at run time only."""

_ROOTS: Final = ("src", "exporter/src", "migrations")
_SLOT: Final = re.compile(r"%(?:\((?P<name>\w+)\))?[-#0 +]*\d*(?:\.\d+)?[sdrif]|\{(?P<field>\w*)[^{}]*\}")


@dataclass
class Module:
    """One Python file.

    Attributes:
        name: dotted name; of a package without ``__init__``.
        path: path within the project.
        tree: its syntax tree.
        aliases: name in the file -> dotted name of what it stands for.
        imported: dotted names of everything that is imported, wherever in the file.
    """

    name: str
    path: Path
    tree: ast.Module
    is_package: bool
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    imported: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    constants: dict[str, ast.expr] = field(default_factory=dict[str, ast.expr])


class SourceTree:
    """The Python and SQL files of a project.

    Attributes:
        modules: Python files by their names.
        scripts: SQL files, path within the project -> text.
    """

    def __init__(self, root: Path) -> None:
        """Read every file under ``src``, ``exporter/src`` and ``migrations`` of a project folder."""
        self.modules: dict[str, Module] = {}
        self.scripts: dict[Path, str] = {}
        for folder in _ROOTS:
            for path in sorted((root / folder).rglob("*.py")):
                module = _module(path, root, root / folder)
                self.modules[module.name] = module
            for path in sorted((root / folder).rglob("*.sql")):
                self.scripts[path.relative_to(root)] = path.read_text("utf-8")

    def dotted(self, module: Module, node: ast.AST) -> str | None:
        """Dotted name that an expression such as ``w.Writer`` stands for; None when it is no name of a module's."""
        if isinstance(node, ast.Name):
            return module.aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(module, node.value)
            return None if base is None else f"{base}.{node.attr}"
        return None

    def text(self, module: Module, node: ast.AST | None, depth: int = 0) -> str | None:
        """The text that an expression assembles, with :data:`HOLE` for what is not known; None when it is no text."""
        found: str | None = None
        match node:
            case _ if depth > _DEEPEST:  # a name that is defined by itself
                pass
            case ast.Constant(value=str(value)):
                found = value
            case ast.JoinedStr(values=values):
                found = "".join(self.text(module, value, depth + 1) or HOLE for value in values)
            case ast.FormattedValue(value=value):
                found = self.text(module, value, depth + 1)
            case ast.BinOp():
                found = self._joined(module, node, depth + 1)
            case ast.Call(func=ast.Attribute()):
                found = self._called(module, node, depth + 1)
            case ast.Name() | ast.Attribute():
                found = self._named(module, node, depth + 1)
            case _:
                pass
        return found

    def _joined(self, module: Module, node: ast.BinOp, depth: int) -> str | None:
        left = self.text(module, node.left, depth)
        if isinstance(node.op, ast.Mod):
            given = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            return self._filled(left, [self.text(module, one, depth) for one in given], {})
        right = self.text(module, node.right, depth)
        if not isinstance(node.op, ast.Add) or (left is None and right is None):
            return None
        return (left or HOLE) + (right or HOLE)

    def _called(self, module: Module, node: ast.Call, depth: int) -> str | None:
        """Text of a method call on a text: filled in, joined, or else taken as unchanged."""
        assert isinstance(node.func, ast.Attribute)
        text = self.text(module, node.func.value, depth)
        if text is None:
            return None
        if node.func.attr == "format":
            named = {word.arg: self.text(module, word.value, depth) for word in node.keywords if word.arg}
            return self._filled(text, [self.text(module, one, depth) for one in node.args], named)
        if node.func.attr == "join" and node.args and isinstance(node.args[0], ast.List | ast.Tuple):
            return text.join(self.text(module, item, depth) or HOLE for item in node.args[0].elts)
        return text

    def _named(self, module: Module, node: ast.Name | ast.Attribute, depth: int) -> str | None:
        """Text of a constant of this module, or of another one of the tree."""
        if isinstance(node, ast.Name) and node.id in module.constants:
            return self.text(module, module.constants[node.id], depth)
        home, _, name = (self.dotted(module, node) or "").rpartition(".")
        other = self.modules.get(home)
        return None if other is None else self.text(other, other.constants.get(name), depth)

    @staticmethod
    def _filled(pattern: str | None, given: list[str | None], named: dict[str, str | None]) -> str | None:
        if pattern is None:
            return None
        left = iter(given)

        def fill(slot: re.Match[str]) -> str:
            name = slot["name"] or slot["field"]
            return (named.get(name) if name else next(left, None)) or HOLE

        return _SLOT.sub(fill, pattern)

    def texts(self, module: Module) -> Iterator[tuple[int, str]]:
        """Every text that a module assembles, with its line; each as a whole, not its parts, and no docstrings."""
        return self._texts(module, module.tree)

    def _texts(self, module: Module, node: ast.AST) -> Iterator[tuple[int, str]]:
        assembled = None if isinstance(node, ast.Name | ast.Attribute) else self.text(module, node)
        if assembled is not None and isinstance(node, ast.expr):
            yield node.lineno, assembled
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            if assembled is not None and self.text(module, child) is not None:
                continue  # part of the text above
            yield from self._texts(module, child)


_DEEPEST: Final = 30


def _module(path: Path, root: Path, source: Path) -> Module:
    parts = list(path.relative_to(source).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    module = Module(".".join(parts), path.relative_to(root), ast.parse(path.read_text("utf-8")), is_package)
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    module.imported.append((node.lineno, name.name))
                    module.aliases[name.asname or name.name.partition(".")[0]] = (
                        name.name if name.asname else name.name.partition(".")[0]
                    )
            case ast.ImportFrom(module=base, names=names, level=level):
                home = _home(module, base, level)
                for name in names:
                    module.imported.append((node.lineno, f"{home}.{name.name}"))
                    module.aliases[name.asname or name.name] = f"{home}.{name.name}"
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                module.constants[name] = value
            case _:
                pass
    return module


def _home(module: Module, base: str | None, level: int) -> str:
    """Dotted name of the module that a ``from`` names, relative or not."""
    if not level:
        return base or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    kept = package[: len(package) - level + 1]
    return ".".join([*kept, base] if base else kept)
