"""Sources of the installed Python packages, parsed with :mod:`ast` and never imported.

Shared by the readers ``pydoc`` and ``pycode``.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import os
import re
import sysconfig
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from texthash.errors import CorpusError

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_TESTS = {"test", "tests", "testing_data", "conftest", "idle_test"}
_VENDORED = {
    "vendor", "vendored", "extern", "external", "externals", "thirdparty", "thirdparty_files", "third_party",
    "array_api_compat", "array_api_extra",
}  # fmt: skip
_PROGRAMS = {"idlelib", "lib2to3", "turtledemo", "pydoc_data", "ensurepip", "antigravity", "this"}
_QUOTES = (b'"""', b"'''")
_OWN_PACKAGE = "texthash"
_REQUIREMENT = re.compile(r"[\w.-]+")


def package_folders() -> list[Path]:
    """Return the folders in which the running interpreter installs packages, and that of scikit-learn."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin:
        found.append(str(Path(spec.origin).parents[1]))
    return sorted({Path(folder).resolve() for folder in found if folder and Path(folder).is_dir()})


def standard_library() -> Path:
    """Return the folder of the modules of Python's standard library."""
    return Path(sysconfig.get_path("stdlib")).resolve()


def own_dependencies() -> set[str]:
    """Return the names by which the packages that texthash requires are imported, without those of its extras.

    Raises:
        CorpusError: texthash, or one of the packages, is not installed.
    """
    found: set[str] = set()
    name = _OWN_PACKAGE
    try:
        for requirement in distribution(name).requires or ():
            if (named := _REQUIREMENT.match(requirement)) and "extra ==" not in requirement:
                name = named.group()
                files = distribution(name).files or ()
                found |= {file.parts[0] for file in files if file.parts[1:] == ("__init__.py",)}
    except PackageNotFoundError:
        raise CorpusError(
            f"{name} is not installed, so it is unknown which packages texthash requires.",
            "install texthash with its dependencies: `pip install .` in its folder.",
        ) from None
    return found


def library_files(package: Path) -> list[Path]:
    """Return the source files of a package, or the module that a file is, without tests and vendored code, sorted."""
    if package.is_file():
        return [package]
    found: list[Path] = []
    for parent, names, leaves in os.walk(package):
        names[:] = [name for name in names if _is_library(name)]
        found += [Path(parent, leaf) for leaf in leaves if leaf.endswith(".py") and _is_library(leaf[:-3])]
    return sorted(found)


def library_packages(folder: Path, modules: bool = False) -> list[Path]:
    """Return the packages in a folder, with the modules that are single files on request, sorted.

    Left out are texthash, tests and vendored code, and programs in the standard library that are no library.
    """
    found = [path for path in folder.iterdir() if path.is_dir() or (modules and path.suffix == ".py")]
    left_out = {_OWN_PACKAGE} | (_PROGRAMS if modules else set())
    return sorted(path for path in found if _is_library(path.stem) and path.stem not in left_out)


def python_files(folder: Path, packages: Collection[str] | None = None) -> list[Path]:
    """Return the source files of packages in a folder (None: all packages), without texthash's own, sorted."""
    found: list[Path] = []
    for parent, names, leaves in os.walk(folder):
        top = Path(parent) == folder
        names[:] = [
            name
            for name in names
            if name.isidentifier()
            and name != _OWN_PACKAGE
            and not (top and packages is not None and name not in packages)
        ]
        if not top:  # a lone file beside the packages has no submodule
            found += [Path(parent, leaf) for leaf in leaves if leaf.endswith(".py")]
    return sorted(found)


def module_of(folder: Path, path: Path) -> tuple[str, ...]:
    """Return the qualified name of a module: (scipy, stats) for ``scipy/stats/__init__.py``."""
    parts = path.relative_to(folder).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def label_of(folder: Path, path: Path) -> str:
    """Return package and first submodule, such as ``scipy.stats``."""
    return ".".join(module_of(folder, path)[:2])


def triple_quoted(source: bytes) -> int:
    """Return the maximum number of triple-quoted strings in a file; one without any need not be parsed."""
    return sum(source.count(quotes) for quotes in _QUOTES) // 2


def syntax_tree(source: bytes) -> ast.Module | None:
    """Parse a file; returns None for templates and sources for another Python, which are not documents of this one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # third-party code may contain invalid escapes
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def documented(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Yield modules, classes and functions with their qualified names, in source order. Expressions are skipped."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, _DOCUMENTED):
            yield name, node
        inner: list[tuple[str, ast.AST]] = []
        for block in ("body", "orelse", "handlers", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                inner += [(_qualified(name, child), child) for child in statements if hasattr(child, "body")]
        stack += reversed(inner)


def is_unicode(text: str) -> bool:
    """Return whether a text is free of lone surrogates, which escapes in the source can produce."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection, which would take most of the time: syntax trees are many objects without cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_library(name: str) -> bool:
    """Return whether a module or folder of this name may be part of a library: no tests, nothing vendored."""
    if not name.isidentifier() or name.startswith("test_") or name.endswith(("_test", "_tests")):
        return False
    return name not in _TESTS and name.lstrip("_") not in _VENDORED


def _qualified(name: str, node: ast.AST) -> str:
    own = getattr(node, "name", None) if isinstance(node, _DOCUMENTED) else None
    return ".".join(filter(None, (name, own)))
