"""Names to methods. Every module of this package that defines a :class:`HashMethod` with a ``card`` is registered."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from texthash.corpora.prepared.corpus import CorpusShape
from texthash.errors import UsageError, nearest_name
from texthash.methods.base import HashMethod


@cache
def methods() -> dict[str, type[HashMethod]]:
    """All registered methods by name, in alphabetical order."""
    import texthash.methods as package

    found: dict[str, type[HashMethod]] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, HashMethod) and "card" in vars(cls) and cls.__module__ == module.name:
                if cls.card.name in found:
                    raise RuntimeError(f"two methods are called {cls.card.name!r}: {found[cls.card.name]} and {cls}")
                found[cls.card.name] = cls
    return dict(sorted(found.items()))


def get_method(name: str) -> type[HashMethod]:
    """The class of a method; raises :class:`UsageError` naming the nearest known name."""
    try:
        return methods()[name]
    except KeyError:
        raise UsageError(
            f"there is no method {name!r} ({nearest_name(name, methods())}).", "`texthash methods` lists them."
        ) from None


def hyperparameters(name: str) -> dict[str, Any]:
    """Keyword hyper-parameters of a method with their published values.

    A variant of a method names its own and takes the others as ``**others``, to hand them to the method it is one of.
    """
    found: dict[str, Any] = {}
    for cls in get_method(name).__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
            own = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
            found = {**own, **found}
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return found


def resolve(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of a method: the published values, with those of ``params`` in their place.

    Raises:
        UsageError: unknown method or hyper-parameter, naming the nearest; a value of another type than the published.
    """
    resolved = hyperparameters(name)
    for key in params:
        if key not in resolved:
            raise UsageError(
                f"method.params.{key}={params[key]!r}: {name} has no hyper-parameter {key!r} "
                f"({nearest_name(key, resolved)}).",
                f"take it out of the configuration; those of {name} are: {', '.join(resolved) or 'none'}.",
            )
        if not _is_like(params[key], resolved[key]):
            raise UsageError(
                f"method.params.{key}={params[key]!r} is a {type(params[key]).__name__}, not as the published "
                f"{resolved[key]!r}.",
                f"give a {type(resolved[key]).__name__}.",
            )
    return {**resolved, **params}


def _is_like(value: Any, published: Any) -> bool:
    """Whether a value has the type of the published one; whole numbers are real numbers too, and null is like all."""
    if value is None or published is None:
        return True
    if isinstance(published, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(published, bool)
    if isinstance(published, float):
        return isinstance(value, int | float)
    return (
        isinstance(value, list | tuple) if isinstance(published, list | tuple) else isinstance(value, type(published))
    )


def build(
    name: str, shape: CorpusShape, bits: int, params: Mapping[str, Any] | None = None, seed: int = 0
) -> HashMethod:
    """Make an untrained method.

    Args:
        name: Registry name.
        shape: Sizes of the corpus.
        bits: Length of the code.
        params: Hyper-parameters that differ from the published ones.
        seed: Of the initial weights; torch's global generator is left as it was.

    Raises:
        UsageError: unknown method or hyper-parameter, or a value that the method refuses.
    """
    cls = get_method(name)
    resolved = resolve(name, params or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = cls(shape, bits, **resolved)
    method.hyperparameters = resolved
    return method
