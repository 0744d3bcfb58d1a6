"""Public names of the classes and functions of a package, found in its syntax trees.

A name is public if none of its components begins with an underscore. An object of a private module has one if a public
namespace exports it: by ``__all__``, or without one by an import in an ``__init__`` from its own package. Where there
are several, the one with the fewest components counts: ``pandas.read_csv``, not ``pandas.io.parsers.read_csv``. Methods
of a base class without a public name of its own, or from a deeper module, have that of the class that inherits them:
``pandas.DataFrame.to_csv``, not ``pandas.core.generic.NDFrame.to_csv``.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Object = tuple[str, str]
"""Module and name of a class or function of it."""
_NONE: tuple[str, ...] = ()
_INSIDE_OS = ("posix", "nt")


@dataclass(frozen=True)
class Definition:
    """Class, function or module with its documentation string, at a line from 1; ``name`` is empty for a module."""

    name: str
    text: str
    line: int


@dataclass
class ModuleSummary:
    """What the names of a module mean.

    Attributes:
        name: Its qualified name.
        is_package: True for an ``__init__``.
        definitions: Documented objects, but those within functions, in the order of the source.
        bases: Expressions of the bases of each class at the top of the module, as dotted names.
        defined: Names of classes and functions at the top of the module.
        imported: Module and name there of each name bound by ``from ... import``.
        stars: Modules whose names are all imported.
        exported: ``__all__`` where it is written out; None where it is absent or computed.
    """

    name: str
    is_package: bool
    definitions: list[Definition] = field(default_factory=list)
    bases: dict[str, list[str]] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    imported: dict[str, Object] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    exported: set[str] | None = None

    @classmethod
    def of(cls, name: str, is_package: bool, tree: ast.Module) -> ModuleSummary:
        """Summarise the syntax tree of a module."""
        found = cls(name, is_package)
        found._define("", tree)
        found._read(tree.body)
        return found

    def _define(self, name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if text := ast.get_docstring(node) or _assigned(node):
            self.definitions.append(Definition(name, text, getattr(node, "lineno", 1)))
        if isinstance(node, ast.Module | ast.ClassDef):
            for child in _statements(node.body):
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    self._define(f"{name}.{child.name}" if name else child.name, child)

    def _read(self, body: list[ast.stmt]) -> None:
        for node in _statements(body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                self.defined.add(node.name)
                if isinstance(node, ast.ClassDef):
                    self.bases[node.name] = [ast.unparse(base) for base in node.bases if _is_dotted(base)]
            elif isinstance(node, ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Assign | ast.AugAssign):
                self._export(node)
            elif isinstance(node, ast.Expr) and ast.unparse(node).startswith(("__all__.extend(", "__all__.append(")):
                self.exported = None

    def _import(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            parts = self.name.split(".")
            above = parts[: len(parts) - node.level + self.is_package]
            source = ".".join([*above, source] if source else above)
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(source)
            else:
                self.imported[alias.asname or alias.name] = (source, alias.name)

    def _export(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return
        written = _strings(node.value)
        if isinstance(node, ast.Assign):
            self.exported = written
        elif self.exported is not None:
            self.exported = None if written is None else self.exported | written


class Namespaces:
    """Names of the modules of a package, with the modules of other packages unknown.

    Args:
        modules: Summaries by qualified name.
    """

    def __init__(self, modules: Mapping[str, ModuleSummary]) -> None:
        self.modules = modules

    def names(self) -> dict[Object, str]:
        """Return the public name of each object that has one; objects of unknown modules are included."""
        found: dict[Object, tuple[int, bool, bool, str]] = {}
        for module in self.modules.values():
            if not is_public(module.name):
                continue
            for name in self._exports(module.name):
                if name.startswith("_") or (target := self._resolve(module.name, name)) is None:
                    continue
                path = f"{module.name}.{name}"
                key = (path.count("."), target[0] != module.name, target[1] != name, path)
                found[target] = min(found.get(target, key), key)
        return {target: key[-1] for target, key in found.items()}

    def heirs(self, names: Mapping[Object, str]) -> dict[Object, str]:
        """Return the public name of the class by which a program reaches the methods of a base class.

        That class inherits from the base class and lies in a namespace around it; the base class has no public name, or
        only that of its own, deeper module.

        Args:
            names: The public name of each object, from :meth:`names`.
        """
        found: dict[Object, tuple[int, int, str]] = {}
        for heir, name in names.items():
            around, dots = name.rpartition(".")[0] + ".", name.count(".")
            for distance, base in enumerate(self._ancestors(heir)):
                own = names.get(base)
                deeper = own is None or (own == ".".join(base) and own.count(".") > dots)
                if deeper and base[0].startswith(around):
                    found[base] = min(found.get(base, (dots, distance, name)), (dots, distance, name))
        return {base: key[-1] for base, key in found.items()}

    def _ancestors(self, child: Object) -> Iterator[Object]:
        seen, waiting = {child}, [child]
        while waiting:
            module, name = waiting.pop(0)
            for base in self.modules[module].bases.get(name, _NONE) if module in self.modules else _NONE:
                above, _, last = base.rpartition(".")
                where = self._module(module, above) if above else module
                target = self._resolve(where, last) if where else None
                if target is not None and target not in seen:
                    seen.add(target)
                    waiting.append(target)
                    yield target

    def _module(self, module: str, name: str) -> str | None:
        """Return the module that a name means in a module, such as ``from . import _base``."""
        source, own = self.modules[module].imported.get(name, ("", ""))
        return f"{source}.{own}" if f"{source}.{own}" in self.modules else None

    def _exports(self, module: str, seen: frozenset[str] = frozenset()) -> set[str]:
        """Return the names that a module offers."""
        known = self.modules.get(module)
        if known is None or module in seen:
            return set()
        if known.exported is not None:
            return known.exported
        found = {name for name in known.defined if not name.startswith("_")}
        for star in known.stars:
            found |= self._exports(star, seen | {module})
        if known.is_package:
            top = module.partition(".")[0]
            found |= {name for name, (source, _) in known.imported.items() if source.partition(".")[0] == top}
        return found

    def _resolve(self, module: str, name: str, seen: frozenset[Object] = frozenset()) -> Object | None:
        """Return the place where the object of a name is defined; None for a module or a constant."""
        known = self.modules.get(module)
        if known is None:
            return (module, name)
        if (module, name) in seen:
            return None
        seen |= {(module, name)}
        if name in known.defined:
            return (module, name)
        if name in known.imported:
            source, own = known.imported[name]
            return None if f"{source}.{own}" in self.modules else self._resolve(source, own, seen)
        for star in known.stars:
            if star in self.modules and (found := self._resolve(star, name, seen)) is not None:
                return found
        return None


def is_public(name: str) -> bool:
    """Return whether no component of a dotted name begins with an underscore, and it is not the inside of ``os``."""
    return not name.startswith("_") and "._" not in name and name not in _INSIDE_OS


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, those within conditions and ``try`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", []))
            yield from _statements(getattr(node, "finalbody", []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def _assigned(node: ast.AST) -> str | None:
    """Return the documentation string of a module that assigns it to ``__doc__``."""
    for child in node.body if isinstance(node, ast.Module) else ():
        if isinstance(child, ast.Assign) and [ast.unparse(target) for target in child.targets] == ["__doc__"]:
            value = getattr(child.value, "value", None)
            return inspect.cleandoc(value) if isinstance(value, str) else None
    return None


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name))


def _strings(node: ast.expr) -> set[str] | None:
    """Return the strings of a list or tuple that is written out; None for any other expression."""
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    values = [item.value for item in node.elts if isinstance(item, ast.Constant)]
    strings = {value for value in values if isinstance(value, str)}
    return strings if len(values) == len(node.elts) and all(isinstance(value, str) for value in values) else None
