"""Imports of Ray Serve and Arrow without pandas, which both take along where it is installed to convert its tables.

No request has such a table, and pandas takes 35 MB in every process of a service.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

HOOK = "texthash.service.lean_imports.import_serve"
"""Import path of the function that each worker of a cluster for a service calls first."""


def import_serve() -> None:
    """Import Ray Serve, which does without pandas where there is none."""
    with _hidden("pandas"):
        import ray.serve  # noqa: F401


def import_arrow() -> None:
    """Import Arrow's datasets. Arrow looks for pandas once, and does without it in this process from then on."""
    with _hidden("pandas"):
        import pyarrow.dataset  # noqa: F401


class _Hiding:
    """Finder of modules for which one package does not exist."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise :class:`ModuleNotFoundError` for the package, and leave all others to the next finder."""
        if name == self._package:
            raise ModuleNotFoundError(f"{name} is not imported in a service", name=name)
        return None


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let imports of a package fail during the block; one that is imported already stays so."""
    hiding = _Hiding(package)
    sys.meta_path.insert(0, hiding)
    try:
        yield
    finally:
        sys.meta_path.remove(hiding)
