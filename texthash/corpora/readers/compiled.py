"""Modules of the standard library that are written in C, summarised by their objects: they have no Python source."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter, ExtensionFileLoader
from types import ModuleType

from texthash.corpora.readers.namespaces import Definition, ModuleSummary

_FOR_TESTS = ("_test", "_xx", "xx", "_ctypes_test")


def compiled_modules() -> list[ModuleSummary]:
    """Return the compiled modules of the standard library by name, public or not, those that this Python has.

    They are imported, which for these has no effects.
    """
    return [_summary(name, module) for name in sorted(sys.stdlib_module_names) if (module := _compiled(name))]


def _compiled(name: str) -> ModuleType | None:
    if name.startswith(_FOR_TESTS):
        return None
    spec = importlib.util.find_spec(name)
    if spec is None or not (spec.loader is BuiltinImporter or isinstance(spec.loader, ExtensionFileLoader)):
        return None
    try:
        return importlib.import_module(name)
    except ImportError:  # a library that it is linked with is not installed
        return None


def _summary(name: str, module: ModuleType) -> ModuleSummary:
    found = ModuleSummary(name, is_package=False)
    found.definitions += _definition("", module)
    for own, value in sorted(vars(module).items()):
        if inspect.isclass(value) or inspect.isroutine(value):
            found.defined.add(own)
            found.definitions += _definition(own, value)
            if inspect.isclass(value) and value is not type:
                for method, function in sorted(vars(value).items()):
                    found.definitions += _definition(f"{own}.{method}", function)
    return found


def _definition(name: str, value: object) -> Iterator[Definition]:
    text = getattr(value, "__doc__", None)
    if isinstance(text, str) and (text := inspect.cleandoc(text)):
        yield Definition(name, text, 1)
