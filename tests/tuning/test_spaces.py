"""Translation of a method's search space, and what cannot be searched."""

import pytest
from ray import tune

from texthash.config import MethodConfig, parse_config
from texthash.errors import UsageError
from texthash.methods.registry import get_method, methods
from texthash.nn.spaces import Choice, IntUniform, LogUniform, Uniform
from texthash.tuning.spaces import describe, free_space, starting_point, to_tune


def _config(name, tuning=None, training=None, **params):
    values = {"method": {"name": name, "params": params}, "tuning": tuning or {}, "training": training or {}}
    return parse_config(values)


def test_each_word_becomes_the_tuners_and_samples_within_its_range():
    space = {"a": Uniform(0, 0.5), "b": LogUniform(1e-4, 1e-2), "c": IntUniform(1, 3), "d": Choice(500, 1000)}
    translated = to_tune(space)
    samples = {name: domain.sample(size=200) for name, domain in translated.items()}
    assert all(0 <= value <= 0.5 for value in samples["a"])
    assert all(1e-4 <= value <= 1e-2 for value in samples["b"])
    assert sum(value < 1e-3 for value in samples["b"]) > 50, "half of a log range lies below its geometric middle"
    assert set(samples["c"]) == {1, 2, 3}
    assert set(samples["d"]) == {500, 1000}


def test_what_a_person_fixes_is_not_searched():
    space = free_space(_config("nash", learning_rate=0.001))
    assert set(space) == set(get_method("nash").search_space) - {"learning_rate"}


TARGETS = ("similarity", "neighbourhood")


def test_a_target_has_a_search_space_of_its_own():
    similarity, neighbourhood = (set(free_space(_config("texthash", target=name))) for name in TARGETS)
    assert not similarity - {"learning_rate"} & neighbourhood
    assert "temperature" in similarity
    assert "agreement" in neighbourhood


def test_what_the_training_section_overrides_is_not_searched():
    assert "batch_size" in free_space(_config("nash"))
    assert "batch_size" not in free_space(_config("nash", training={"batch_size": 32}))


def test_nothing_to_search_is_an_error_that_says_why():
    with pytest.raises(UsageError, match="it has no search space"):
        free_space(_config("lsh"))
    fixed = dict.fromkeys(get_method("nash").search_space, 1)
    with pytest.raises(UsageError, match="the configuration fixes all"):
        free_space(_config("nash", **fixed))


@pytest.mark.parametrize("bad", [lambda: Uniform(1, 1), lambda: LogUniform(0, 1), lambda: IntUniform(3, 2), Choice])
def test_an_impossible_range_is_refused_where_it_is_written(bad):
    with pytest.raises(UsageError):
        bad()


def test_every_methods_space_translates_and_is_described():
    searched = 0
    for name, cls in methods().items():
        if not cls.search_space:
            continue
        config = _config(name)
        assert all(isinstance(domain, tune.search.sample.Domain) for domain in to_tune(free_space(config)).values())
        assert {row["parameter"] for row in describe(config)} == set(cls.search_space)
        searched += 1
    assert searched >= 4


def test_the_starting_values_are_a_point_only_if_the_space_holds_them():
    config = MethodConfig(name="itq")
    space = free_space(_config("itq"))
    assert starting_point(config, space) == {"iterations": 50}
    assert starting_point(config, {"iterations": Choice(1, 2)}) is None


def test_ranges_of_the_configuration_come_beside_or_instead_of_the_methods_own():
    own = free_space(_config("nash"))
    space = free_space(
        _config("nash", tuning={"space": {"learning_rate": {"log": [1e-5, 1e-4]}, "hidden": {"choice": [100, 200]}}})
    )
    assert space["learning_rate"] == LogUniform(1e-5, 1e-4) != own["learning_rate"]
    assert space["hidden"] == Choice(100, 200)
    assert set(space) == {*own, "hidden"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rate": {"log": [1e-2, 1e-4]}}, r"tuning\.space\.learning_rate: .*lower end"),
        ({"learning_rate": {"log": [0, 1e-4]}}, "must be above 0"),
        ({"dropout": {"choice": []}}, "no options"),
        ({"learning_rat": {"log": [1e-4, 1e-2]}}, "no hyper-parameter of that name"),
        ({"batch_size": {"choice": [32]}}, r"training\.batch_size fixes it"),
        ({"hidden": {"choice": [32]}}, r"method\.params\.hidden fixes it"),
    ],
)
def test_an_impossible_range_of_the_configuration_is_an_error_that_names_it(space, message):
    config = _config("nash", tuning={"space": space}, training={"batch_size": 32}, hidden=16)
    with pytest.raises(UsageError, match=message):
        free_space(config)


def test_a_range_comes_back_from_what_is_written_of_it():
    config = _config("nash", tuning={"space": {"dropout": {"uniform": [0, 1]}}})
    assert {key: value for key, value in config.flat().items() if "space" in key} == {
        "tuning.space.dropout.uniform": [0.0, 1.0]
    }
    assert parse_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("given", [{}, {"uniform": [0, 1], "choice": [1]}])
def test_a_range_is_one_of_four_kinds(given):
    with pytest.raises(UsageError, match="name one of uniform, log, whole and choice"):
        _config("nash", tuning={"space": {"dropout": given}})
