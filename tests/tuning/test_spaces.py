"""Translation of a method's search space, and what cannot be searched."""

import pytest
from ray import tune

from texthash.config import MethodConfig, TrainingConfig
from texthash.errors import UsageError
from texthash.methods.registry import get_method, methods
from texthash.parts.spaces import Choice, IntUniform, LogUniform, Uniform
from texthash.tuning.spaces import describe, free_space, published_point, to_tune


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
    space = free_space(MethodConfig(name="nash", params={"learning_rate": 0.001}))
    assert set(space) == set(get_method("nash").search_space) - {"learning_rate"}


def test_what_the_training_section_overrides_is_not_searched():
    assert "batch_size" in free_space(MethodConfig(name="nash"))
    assert "batch_size" not in free_space(MethodConfig(name="nash"), TrainingConfig(batch_size=32))


def test_nothing_to_search_is_an_error_that_says_why():
    with pytest.raises(UsageError, match="states no search space"):
        free_space(MethodConfig(name="lsh"))
    fixed = dict.fromkeys(get_method("nash").search_space, 1)
    with pytest.raises(UsageError, match="the configuration fixes all"):
        free_space(MethodConfig(name="nash", params=fixed))


@pytest.mark.parametrize("bad", [lambda: Uniform(1, 1), lambda: LogUniform(0, 1), lambda: IntUniform(3, 2), Choice])
def test_an_impossible_range_is_refused_where_it_is_written(bad):
    with pytest.raises(UsageError):
        bad()


def test_every_methods_space_translates_and_is_described():
    searched = 0
    for name, cls in methods().items():
        if not cls.search_space:
            continue
        config = MethodConfig(name=name)
        assert all(isinstance(domain, tune.search.sample.Domain) for domain in to_tune(free_space(config)).values())
        assert {row["parameter"] for row in describe(config)} == set(cls.search_space)
        searched += 1
    assert searched >= 4


def test_the_published_values_are_a_point_only_if_the_space_holds_them():
    config = MethodConfig(name="itq")
    space = free_space(config)
    assert published_point(config, space) == {"iterations": 50}
    assert published_point(config, {"iterations": Choice(1, 2)}) is None
