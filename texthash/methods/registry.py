"""Registry of methods by name. Every :class:`HashMethod` with a ``card`` in a module of this package is registered."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from texthash.config import Config, MethodConfig, Preset, TrainingConfig
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.sample import learning_from
from texthash.errors import UsageError, nearest_name
from texthash.methods.base import HashMethod, Printed
from texthash.methods.found_settings import FoundSettings, found_settings
from texthash.methods.hyperparameters import parameters_of


@cache
def methods() -> dict[str, type[HashMethod]]:
    """Return all registered methods by name, in alphabetical order."""
    import texthash.methods as package

    found: dict[str, type[HashMethod]] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for cls in _defined_in(module.name):
            if cls.card.name in found:
                raise RuntimeError(f"two methods have the name {cls.card.name!r}: {found[cls.card.name]} and {cls}")
            found[cls.card.name] = cls
    return dict(sorted(found.items()))


def _defined_in(module: str) -> list[type[HashMethod]]:
    classes = (cls for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass))
    return [cls for cls in classes if issubclass(cls, HashMethod) and "card" in vars(cls) and cls.__module__ == module]


@cache
def _own_module_of(name: str) -> type[HashMethod] | None:
    """Return the method of the module with the same name, without importing the other modules."""
    import texthash.methods as package

    if all(module.name != name for module in pkgutil.iter_modules(package.__path__)):
        return None
    found = [cls for cls in _defined_in(f"{package.__name__}.{name}") if cls.card.name == name]
    return found[0] if len(found) == 1 else None


def get_method(name: str) -> type[HashMethod]:
    """Return the class of a method.

    Raises:
        UsageError: The method does not exist; the error names the nearest existing one.
    """
    if (alone := _own_module_of(name)) is not None:
        return alone
    try:
        return methods()[name]
    except KeyError:
        raise UsageError(
            f"there is no method {name!r} ({nearest_name(name, methods())}).", "`texthash methods` lists them."
        ) from None


def distinct_seeds(name: str, seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds by which models of a method differ: only the first where the seed changes nothing."""
    return tuple(seeds) if get_method(name).card.random else tuple(seeds[:1])


def hyperparameters(name: str) -> dict[str, Any]:
    """Return the hyper-parameters of a method with their defaults."""
    return {parameter.name: parameter.default for parameter in parameters_of(get_method(name)).values()}


def describe(name: str) -> list[dict[str, Any]]:
    """Return one row per hyper-parameter of a method, as plain values.

    Keys are ``name``, ``default``, ``paper`` (null if no published value is known), ``tuned`` (null if no search found
    another value than the default), ``range``, ``search`` (null if it is not searched) and ``meaning``.
    """
    cls = get_method(name)
    paper = cls.card.paper.values if cls.card.paper else {}
    tuned = found_settings()[name].values if name in found_settings() else {}
    return [
        {
            "name": one.name,
            "default": one.default,
            "paper": paper.get(one.name),
            "tuned": tuned.get(one.name),
            "range": one.allowed,
            "search": str(cls.search_space[one.name]) if one.name in cls.search_space else None,
            "meaning": one.meaning,
        }
        for one in parameters_of(cls).values()
    ]


def resolve(name: str, params: Mapping[str, Any], preset: Preset = "default") -> dict[str, Any]:
    """Return all hyper-parameters of a method.

    Args:
        name: Registry name.
        params: Given hyper-parameters.
        preset: Source of the others: ``default``, ``paper`` for the published values, or ``tuned`` for those found by a
            search, with defaults where the source has none.

    Raises:
        UsageError: The method or a hyper-parameter does not exist (with the nearest name), a value is out of range or
            of another type, or the preset has no values of the method.
    """
    cls = get_method(name)
    values = {"default": dict, "paper": lambda: printed(name).values, "tuned": lambda: found(name).values}[preset]()
    return cls.resolve({**values, **params})


def resolved(config: Config) -> Config:
    """Return the configuration with every hyper-parameter, as runs log it, digests hash it and models record it.

    Raises:
        UsageError: Same as :func:`resolve`.
    """
    method = config.method
    return config.derive(method={"params": resolve(method.name, method.params, method.preset)})


def decisive(method: MethodConfig) -> dict[str, Any]:
    """Return all that determines the weights of a method, as plain values: name, width and every hyper-parameter."""
    params = resolve(method.name, method.params, method.preset)
    return {"name": method.name, "bits": method.bits, "params": params}


def printed(name: str) -> Printed:
    """Return the published hyper-parameters of a method.

    Raises:
        UsageError: No published hyper-parameters are known.
    """
    paper = get_method(name).card.paper
    if paper is None:
        raise UsageError(
            f"method.preset=paper: no printed hyper-parameters of {name} are known.",
            f"use method.preset=default; `texthash methods show {name}` prints what is known.",
        )
    return paper


def found(name: str) -> FoundSettings:
    """Return the hyper-parameters of a method that a search of equal budget found.

    Raises:
        UsageError: The method has not been searched.
    """
    if name not in found_settings():
        get_method(name)
        remedy = f"use method.preset=default, or search: texthash tune {name}. Searched: {', '.join(found_settings())}."
        raise UsageError(f"method.preset=tuned: no search has found settings of {name}.", remedy)
    return found_settings()[name]


def as_printed(method: MethodConfig) -> str:
    """Describe which values of a configuration with ``preset: paper`` are published, overridden or defaults."""
    paper = printed(method.name)
    values = resolve(method.name, method.params, method.preset)
    same = {name for name, value in paper.values.items() if values[name] == value}
    groups = {
        f"as printed ({paper.source})": [name for name in values if name in same],
        "other than printed": [name for name in paper.values if name not in same],
        "not known to be printed": [name for name in values if name not in paper.values],
    }
    parts = (f"{what}: " + ", ".join(f"{n}={values[n]}" for n in names) for what, names in groups.items() if names)
    return "; ".join(parts)


def build(
    name: str, shape: CorpusShape, bits: int, params: Mapping[str, Any] | None = None, seed: int = 0
) -> HashMethod:
    """Build an untrained method.

    Args:
        name: Registry name.
        shape: Sizes of the corpus.
        bits: Length of the code.
        params: Hyper-parameters that differ from the defaults.
        seed: Random seed of the initial weights; torch's global generator is not changed.

    Raises:
        UsageError: The method or a hyper-parameter does not exist, or a value is out of range.
    """
    cls = get_method(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(shape, bits, **(params or {}))


def untrained(
    corpus: PreparedCorpus, method: MethodConfig, training: TrainingConfig, encoder: str | None
) -> tuple[HashMethod, PreparedCorpus]:
    """Build the method of a configuration, and return it with the corpus that it learns from.

    Args:
        corpus: Corpus, of which ``training.documents`` may choose a sample.
        method: Name, width and hyper-parameters.
        training: Configuration whose seed is that of the initial weights.
        encoder: Source of the vectors that the method learns from, if any.

    Raises:
        UsageError: Same as :func:`resolve`, or a pair corpus cannot be sampled.
    """
    learned = learning_from(corpus, training.documents)
    params = resolve(method.name, method.params, method.preset)
    return build(method.name, learned.shape_with(encoder), method.bits, params, training.seed), learned
