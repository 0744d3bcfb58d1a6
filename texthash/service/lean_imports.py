"""Imports of libraries without packages that they take along where these are installed, and no request needs.

Ray Serve and Arrow would import pandas to convert its tables, which takes 35 MB in every process of a service, and
Numba would import SciPy for linear algebra and cffi for its functions, 15 MB in every process that searches.
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


def import_kernels() -> None:
    """Import Numba and the kernels. Numba does without linear algebra in this process from then on."""
    with _hidden("scipy"), _hidden("cffi"):
        from texthash.service.compile_kernels import compile_apart

        compile_apart()
        from texthash.hamming.kernels import warmup

        warmup()  # Numba imports what it needs to load kernels with the first one.


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
