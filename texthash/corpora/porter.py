"""Porter's stemmer of NLTK, imported without the rest of NLTK."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any

_PACKAGES = ("nltk", "nltk.stem")
_lock = Lock()


@cache
def porter_stemmer() -> Any:
    """Return NLTK's ``PorterStemmer``.

    The package imports SciPy's statistics and pandas, which takes longer than a search: the module of the stemmer is
    imported between packages that are empty, and that are removed again, so that ``import nltk`` gives the whole.
    """
    with _lock:
        if "nltk" in sys.modules:
            return importlib.import_module("nltk.stem.porter").PorterStemmer()
        for name in _PACKAGES:
            _insert_empty(name)
        try:
            return importlib.import_module("nltk.stem.porter").PorterStemmer()
        finally:
            for name in [name for name in sys.modules if name == "nltk" or name.startswith("nltk.")]:
                del sys.modules[name]


def _insert_empty(name: str) -> None:
    """Put an empty package into ``sys.modules``, whose submodules can be imported."""
    parent, _, last = name.rpartition(".")
    if parent:
        path = [f"{folder}/{last}" for folder in sys.modules[parent].__path__]
    else:
        spec = find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        path = list(spec.submodule_search_locations)
    module = ModuleType(name)
    module.__path__ = path
    sys.modules[name] = module
