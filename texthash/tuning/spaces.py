"""From a method's own search space to the tuner's, with the parameters that a person has fixed left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from texthash.config import MethodConfig, TrainingConfig
from texthash.errors import UsageError
from texthash.methods.registry import get_method, hyperparameters
from texthash.parts.spaces import Choice, IntUniform, LogUniform, SearchSpace, Space, Uniform

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain


def free_space(method: MethodConfig, training: TrainingConfig | None = None) -> SearchSpace:
    """The method's search space without what ``method.params`` fixes, or ``training`` overrides.

    Raises:
        UsageError: nothing is left to search, or the method names a parameter that it does not have.
    """
    space = get_method(method.name).search_space
    unknown = set(space) - set(hyperparameters(method.name))
    if unknown:
        raise UsageError(
            f"the search space of {method.name} names {', '.join(sorted(unknown))}, which it does not take.",
            f"correct search_space; it takes: {', '.join(hyperparameters(method.name))}.",
        )
    overridden = training.model_dump(include={"epochs", "batch_size"}, exclude_none=True) if training else {}
    fixed = {*method.params, *overridden}
    left = {name: domain for name, domain in space.items() if name not in fixed}
    if not left:
        why = "the configuration fixes all that it could vary" if space else "it states no search space"
        raise UsageError(
            f"there is nothing to search for {method.name}: {why}.",
            "set tuning.trials=0, or fix fewer parameters.",
        )
    return left


def to_tune(space: SearchSpace) -> dict[str, Domain]:
    """The same space in Ray Tune's words."""
    return {name: _domain(domain) for name, domain in space.items()}


def published_point(method: MethodConfig, space: SearchSpace) -> dict[str, Any] | None:
    """The published values as a point of the space, or None if one of them lies outside."""
    published = hyperparameters(method.name)
    point = {name: published[name] for name in space}
    return point if all(_contains(space[name], value) for name, value in point.items()) else None


def describe(method: MethodConfig, training: TrainingConfig | None = None) -> list[dict[str, str]]:
    """One row a parameter: its name, range and published value, as text."""
    published = hyperparameters(method.name)
    return [
        {"parameter": name, "range": str(domain), "published": str(published[name])}
        for name, domain in free_space(method, training).items()
    ]


def _domain(space: Space) -> Domain:
    from ray import tune

    match space:
        case Uniform(low, high):
            return tune.uniform(low, high)
        case LogUniform(low, high):
            return tune.loguniform(low, high)
        case IntUniform(low, high):
            return tune.randint(low, high + 1)
        case Choice(options):
            return tune.choice(list(options))


def _contains(space: Space, value: Any) -> bool:
    if isinstance(space, Choice):
        return value in space.options
    return isinstance(value, int | float) and space.low <= value <= space.high


def merged(method: MethodConfig, found: Mapping[str, Any]) -> MethodConfig:
    """The method with the values that a search found."""
    return method.model_copy(update={"params": {**method.params, **found}})
