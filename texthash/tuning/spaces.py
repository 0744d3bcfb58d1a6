"""Search spaces: a method's own, changed by the configuration, and converted for Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from texthash.config import Config, MethodConfig, Range
from texthash.errors import UsageError, nearest_name
from texthash.evaluation.scoring import check_selection_metric
from texthash.methods.hyperparameters import checked
from texthash.methods.registry import get_method, hyperparameters, resolve
from texthash.nn.spaces import Choice, IntUniform, LogUniform, SearchSpace, Space, Uniform

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain


def check_sweep(config: Config) -> None:
    """Check the configuration of a sweep before any work.

    Raises:
        UsageError: There is nothing to search (:func:`free_space`), there are no trials, or
            ``evaluation.selection_metric`` does not name a metric.
    """
    free_space(config)
    if config.tuning.trials < 1:
        raise UsageError("tuning.trials=0 searches nothing.", "set tuning.trials (--trials) to 1 or more.")
    if config.evaluation.selection_metric is not None:
        check_selection_metric(config.evaluation.selection_metric, config.evaluation.k, "precision", "recall")


def free_space(config: Config) -> SearchSpace:
    """Return the search space of a sweep.

    It consists of the method's own space, changed by the ranges of ``tuning.space``, without the parameters that
    ``method.params`` fixes or ``training`` overrides.

    Raises:
        UsageError: Nothing is left to search, a range is invalid, or its parameter is fixed or not one of the method.
    """
    method, training = config.method, config.training
    own, taken = get_method(method.name).space_of(method.params), hyperparameters(method.name)
    if unknown := set(own) - set(taken):
        raise UsageError(
            f"the search space of {method.name} names {', '.join(sorted(unknown))}, which it does not take.",
            f"correct search_space; it takes: {', '.join(taken)}.",
        )
    overridden = training.model_dump(include={"epochs", "batch_size"}, exclude_none=True)
    fixed = {**dict.fromkeys(method.params, "method.params"), **dict.fromkeys(overridden, "training")}
    for name in config.tuning.space:
        if name not in taken:
            raise UsageError(
                f"tuning.space.{name}: {method.name} has no hyper-parameter of that name.", nearest_name(name, taken)
            )
        if name in fixed:
            raise UsageError(
                f"tuning.space.{name} is searched, and {fixed[name]}.{name} fixes it.", "leave one of the two out."
            )
    space = {**own, **{name: _space(method.name, name, given) for name, given in config.tuning.space.items()}}
    left = {name: domain for name, domain in space.items() if name not in fixed}
    if not left:
        why = "the configuration fixes all parameters of its search space" if space else "it has no search space"
        raise UsageError(
            f"there is nothing to search for {method.name}: {why}.",
            "set tuning.trials=0, fix fewer parameters, or name ranges in tuning.space.",
        )
    return left


def to_tune(space: SearchSpace) -> dict[str, Domain]:
    """Convert a search space for Ray Tune."""
    return {name: _domain(domain) for name, domain in space.items()}


def starting_point(method: MethodConfig, space: SearchSpace) -> dict[str, Any] | None:
    """Return the values of ``method.preset`` as a point of the space, or None if one of them lies outside."""
    values = resolve(method.name, {}, method.preset)
    point = {name: values[name] for name in space}
    return point if all(_contains(space[name], value) for name, value in point.items()) else None


def describe(config: Config) -> list[dict[str, str]]:
    """Return one row per parameter, as text: its name, range, default, and the published value if it is known."""
    defaults, paper = hyperparameters(config.method.name), get_method(config.method.name).card.paper
    known = paper.values if paper else {}
    return [
        {"parameter": name, "range": str(domain), "default": str(defaults[name]), "paper": str(known.get(name, ""))}
        for name, domain in free_space(config).items()
    ]


def _space(method: str, name: str, given: Range) -> Space:
    """Convert a range of the configuration; the method has to accept its ends or options."""
    try:
        space = _named(given)
        for value in space.options if isinstance(space, Choice) else (space.low, space.high):
            checked(get_method(method), method, {name: value})
    except UsageError as error:
        raise UsageError(f"tuning.space.{name}: {error.problem}", error.remedy) from None
    return space


def _named(given: Range) -> Space:
    if given.uniform:
        return Uniform(*given.uniform)
    if given.log:
        return LogUniform(*given.log)
    if given.whole:
        return IntUniform(*given.whole)
    return Choice(*(given.choice or ()))


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
    """Return the method with the values that a search found."""
    return method.derive(params={**method.params, **found})
