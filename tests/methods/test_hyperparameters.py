"""Hyper-parameters: every one is declared, documented, checked before any work, and remembered by a saved model."""

import inspect
import json
import math

import numpy as np
import pytest
from pydantic import Field

from tests.methods.narrow import SMALLEST, narrowed
from texthash.config import TrainingConfig
from texthash.errors import ModelMismatchError, UsageError
from texthash.methods.base import HashMethod
from texthash.methods.dgm_sph import DGMSpH
from texthash.methods.hyperparameters import parameters_of
from texthash.methods.nash import NASH
from texthash.methods.registry import build, methods, resolve
from texthash.models.hasher import Hasher
from texthash.nn.spaces import Choice
from texthash.training.loop import fit

BITS = 16


def cases_of(cls):
    """Names of hyper-parameters that are changed together: each choice by itself, and all numbers at once."""
    known = parameters_of(cls).values()
    choices = [(parameter.name,) for parameter in known if parameter.kind is bool or parameter.options]
    numbers = tuple(parameter.name for parameter in known if (parameter.name,) not in choices)
    return [*choices, *([numbers] if numbers else [])]


CASES = [
    pytest.param(name, changed, id=f"{name}-{changed[0] if len(changed) == 1 else 'numbers'}")
    for name, cls in methods().items()
    for changed in cases_of(cls)
]


def another(parameter):
    """A value that is allowed and not the default."""
    if parameter.name == "window":
        return parameter.default + 2  # odd
    if parameter.kind is bool:
        return not parameter.default
    if parameter.options:
        return next(option for option in parameter.options if option != parameter.default)
    if parameter.kind is int:
        return SMALLEST.get(parameter.name, parameter.default) + 1
    return 0.37 if parameter.default is None else parameter.default / 2 or 0.25


def texts_of(corpus, count=48):
    return next(corpus.validation.documents(count))["text"].to_pylist()


def test_each_hyper_parameter_of_each_method_is_looked_at():
    assert len(methods()) == 55
    looked_at = {(case.values[0], parameter) for case in CASES for parameter in case.values[1]}
    assert looked_at == {(name, parameter) for name, cls in methods().items() for parameter in parameters_of(cls)}
    assert len(looked_at) > 250


@pytest.mark.parametrize(("name", "changed"), CASES)
def test_a_model_made_by_its_class_is_the_same_after_saving(name, changed, small_corpus, encoded_shape, tmp_path):
    cls = methods()[name]
    known = parameters_of(cls)
    given = narrowed(name, SMALLEST) | {parameter: another(known[parameter]) for parameter in changed}
    assert all(given[parameter] != known[parameter].default for parameter in changed)
    hasher = Hasher.of(cls(encoded_shape, BITS, **given), small_corpus)
    again = Hasher.load(hasher.save(tmp_path / "model"))
    assert again.method.hyperparameters == {**resolve(name, {}), **given}
    texts = texts_of(small_corpus)
    assert np.array_equal(again.encode(texts), hasher.encode(texts))


@pytest.mark.parametrize("given", [{"weighting": "counts"}, {"hidden": 100}])
def test_a_fitted_model_made_by_its_class_gives_its_codes_again(given, small_corpus, tmp_path):
    fitted = fit(NASH(small_corpus.shape, 32, **given), small_corpus.train, TrainingConfig(epochs=1)).method
    hasher = Hasher.of(fitted, small_corpus)
    again = Hasher.load(hasher.save(tmp_path / "model"))
    texts = texts_of(small_corpus)
    assert np.array_equal(again.encode(texts), hasher.encode(texts))
    assert again.method.inputs == fitted.inputs


def test_the_class_and_the_registry_make_the_same_method(small_corpus):
    by_class, by_name = (
        NASH(small_corpus.shape, 32, dropout=0.4),
        build("nash", small_corpus.shape, 32, {"dropout": 0.4}),
    )
    assert by_class.hyperparameters == by_name.hyperparameters == resolve("nash", {"dropout": 0.4})
    assert (by_class.dropout, by_class.hidden, NASH.hidden) == (0.4, 500, 500)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learning_rate": -1}, r"learning_rate=-1: learning_rate of nash has to be a number above 0"),
        ({"learning_rate": math.nan}, r"learning_rate=nan: .* a number above 0 and finite"),
        ({"learning_rate": math.inf}, r"learning_rate=inf: .* a number above 0 and finite"),
        ({"dropout": 7}, r"dropout=7: .* at least 0 and below 1"),
        ({"hidden": 0}, r"hidden=0: .* a whole number of at least 1"),
        ({"hidden": 1.5}, r"hidden=1\.5: .* a whole number"),
        ({"hidden": "many"}, r"hidden='many': .* a whole number"),
        ({"epochs": 0}, r"epochs=0: .* at least 1"),
        ({"epochs": None}, r"epochs=None: .* a whole number"),
        ({"epochs": True}, r"epochs=True: .* a whole number"),
        ({"batch_size": -3}, r"batch_size=-3: .* at least 1"),
        ({"kl_ramp": 1.1}, r"kl_ramp=1\.1: .* at most 1"),
        ({"stochastic": 1}, r"stochastic=1: .* true or false"),
        ({"weighting": "tfdif"}, r"weighting='tfdif': .* one of tfidf, .*did you mean 'tfidf'\?"),
        ({"hiden": 3}, r"hiden=3: nash has no hyper-parameter 'hiden' \(did you mean 'hidden'\?\)"),
        ({"hidden": 0, "dropout": 1.0}, r"hidden=0: .*; method\.params\.dropout=1\.0: "),
    ],
)
def test_a_value_out_of_range_is_one_error_however_the_method_is_made(given, says, small_corpus):
    for make in (
        lambda: NASH(small_corpus.shape, 32, **given),
        lambda: build("nash", small_corpus.shape, 32, given),
        lambda: resolve("nash", given),
    ):
        with pytest.raises(UsageError, match=r"^method\.params\." + says) as raised:
            make()
        assert "texthash methods show nash" in raised.value.remedy or "those of nash are" in raised.value.remedy


@pytest.mark.parametrize("bits", [30, 0, -8, 4, 2048, 32.0, "32", None])
def test_a_length_that_no_code_has_is_refused(bits, small_corpus):
    with pytest.raises(UsageError, match=rf"^bits={bits!r}: ") as raised:
        NASH(small_corpus.shape, bits)
    assert "multiple of 8 from 8 to 1024" in raised.value.remedy


def test_values_that_contradict_each_other_are_refused_before_any_work():
    with pytest.raises(UsageError, match="prior_order=1 is below posterior_order=2"):
        resolve("ammi", {"prior_order": 1, "posterior_order": 2})
    with pytest.raises(UsageError, match=r"reconstruction_steps=0: a round of daba has no steps"):
        resolve("daba", {"reconstruction_steps": 0, "distance_steps": 0})
    with pytest.raises(UsageError, match=r"window=4: .* odd"):
        resolve("daba", {"window": 4})


@pytest.mark.parametrize("name", methods())
def test_help_shows_every_hyper_parameter_with_its_meaning(name):
    cls = methods()[name]
    parameters = parameters_of(cls)
    for signature in (inspect.signature(cls), inspect.signature(cls.__init__)):
        kinds = {p.kind for p in signature.parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds
        assert list(parameters) == [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    defaults = {p.name: p.default for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert defaults == resolve(name, {})
    for parameter in parameters.values():
        assert parameter.meaning[0].isupper() or parameter.meaning.startswith("log s^2")
        assert parameter.meaning.endswith(".")
        assert f"    {parameter.name}: {parameter.meaning} Default: {parameter.default}; " in cls.__doc__


@pytest.mark.parametrize("name", methods())
def test_a_search_space_stays_within_the_ranges(name):
    for parameter, space in methods()[name].search_space.items():
        for value in space.options if isinstance(space, Choice) else (space.low, space.high):
            assert resolve(name, {parameter: value})[parameter] == value


def test_a_new_default_keeps_range_and_meaning():
    base, variant = parameters_of(NASH), parameters_of(DGMSpH)
    assert variant["hidden"].default == base["hidden"].default

    class Wider(NASH):
        hidden = 700

    wider = parameters_of(Wider)
    assert (wider["hidden"].default, wider["hidden"].allowed) == (700, base["hidden"].allowed)
    assert {**resolve("nash", {}), "hidden": 700} == Wider.resolve({})
    assert resolve("nash", {})["hidden"] == 500, "the base keeps its own"


def test_a_constructor_cannot_hide_a_hyper_parameter():
    with pytest.raises(TypeError, match=r"width: a hyper-parameter is declared as a field of the class"):

        class Hidden(HashMethod):
            def __init__(self, shape, bits, *, width=3):
                super().__init__(shape, bits)

    class Declared(HashMethod):
        width: int = Field(3, ge=1, description="Width of it.")

    assert list(parameters_of(Declared)) == ["width", "weighting"]


def test_a_saved_model_that_lacks_a_hyper_parameter_has_its_default_and_says_so(small_corpus, tmp_path, capsys):
    directory = Hasher.of(NASH(small_corpus.shape, BITS, hidden=24), small_corpus).save(tmp_path / "model")
    record = json.loads((directory / "hasher.json").read_text())
    del record["params"]["kl_ramp"], record["digest"]
    (directory / "hasher.json").write_text(json.dumps(record))
    assert Hasher.load(directory).method.hyperparameters["kl_ramp"] == 0.0
    assert "does not record kl_ramp" in capsys.readouterr().err
    record["params"]["of_tomorrow"] = 1
    (directory / "hasher.json").write_text(json.dumps(record))
    with pytest.raises(ModelMismatchError, match=r"cannot be built: .*of_tomorrow"):
        Hasher.load(directory)
