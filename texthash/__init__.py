"""Documents learned into short binary codes, searched exactly in Hamming space.

    import texthash

    model = texthash.train("nash", texts, bits=32, labels=labels)
    codes = model.encode(["sort an array"])                    # uint8 [1, 4]
    index = texthash.Index(model, texts)
    index.search("sort an array", k=5)                         # ids, distances, texts
    texthash.evaluate(model, queries, documents, qrels)        # expected, best and worst over ties

Names are imported at their first use, so ``import texthash`` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from texthash import corpora, methods
    from texthash.client import AsyncClient, Client
    from texthash.evaluation import metrics
    from texthash.local.estimator import TextHasher
    from texthash.local.evaluate import evaluate
    from texthash.local.index import Index
    from texthash.local.models import load, open_corpus, prepare
    from texthash.local.result import SearchResult
    from texthash.local.train import train
    from texthash.models.hasher import Hasher

_ORIGIN = {
    "AsyncClient": "texthash.client",
    "Client": "texthash.client",
    "Hasher": "texthash.models.hasher",
    "Index": "texthash.local.index",
    "SearchResult": "texthash.local.result",
    "TextHasher": "texthash.local.estimator",
    "corpora": "texthash",
    "evaluate": "texthash.local.evaluate",
    "load": "texthash.local.models",
    "methods": "texthash",
    "metrics": "texthash.evaluation",
    "open_corpus": "texthash.local.models",
    "prepare": "texthash.local.models",
    "train": "texthash.local.train",
}
_ROOMS = ("corpora", "methods", "metrics")

__all__ = [
    "AsyncClient",
    "Client",
    "Hasher",
    "Index",
    "SearchResult",
    "TextHasher",
    "corpora",
    "evaluate",
    "load",
    "methods",
    "metrics",
    "open_corpus",
    "prepare",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN:
        raise AttributeError(f"module 'texthash' has no attribute {name!r}")
    origin = _ORIGIN[name]
    return import_module(f"{origin}.{name}") if name in _ROOMS else getattr(import_module(origin), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *globals()])
