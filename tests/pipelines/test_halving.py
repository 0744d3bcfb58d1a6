"""Successive halving: who goes on, that a pause changes nothing, and what an interrupted search loses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipelines.halving import HalvingSetting, HalvingTrial, draw, first_trials, halve, rung_epochs
from texthash.config import EvaluationConfig, TrainingConfig
from texthash.errors import UsageError
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.methods.registry import build
from texthash.nn.spaces import Choice, IntUniform, LogUniform, Uniform
from texthash.training.loop import fit

SPACE = {"a": Uniform(0, 0.5), "b": LogUniform(1e-4, 1e-2), "c": IntUniform(1, 3), "d": Choice("x", "y")}


def test_settings_are_drawn_within_the_space_and_the_same_by_a_seed():
    drawn = draw(SPACE, 60)
    assert drawn == draw(SPACE, 60) != draw(SPACE, 60, seed=1)
    assert all(0 <= one["a"] <= 0.5 and 1e-4 <= one["b"] <= 1e-2 for one in drawn)
    assert {one["c"] for one in drawn} == {1, 2, 3}
    assert {one["d"] for one in drawn} == {"x", "y"}
    assert sum(one["b"] < 1e-3 for one in drawn) > 15, "half of a log range lies below its geometric middle"


def test_a_small_space_is_drawn_without_repetition_while_it_lasts():
    drawn = draw({"d": Choice(*"abcdef")}, 6)
    assert sorted(one["d"] for one in drawn) == list("abcdef")
    assert len(draw({"d": Choice("a")}, 3)) == 3


def test_given_settings_are_among_the_trials():
    trials = first_trials(SPACE, {"default": {}, "hand": {"a": 0.1}}, 5)
    assert [trial.origin for trial in trials] == ["default", "hand", "sampled", "sampled", "sampled"]
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError, match="2 settings are given for 1 trials"):
        first_trials(SPACE, {"default": {}, "hand": {}}, 1)


def played(scores, keep=frozenset()):
    """Halving of trials whose score at each rung is known; the numbers advanced, rung by rung, and the result."""
    steps = []

    def advance(trial, rung):
        steps.append((rung, trial.number))
        return replace(trial, rung=rung, epochs=rung, validation=scores[trial.number][rung - 1])

    trials = [HalvingTrial(number, "default" if number == 0 else "sampled", {}) for number in range(len(scores))]
    return steps, halve(trials, advance, lambda trials: None, keep)


def test_the_best_third_goes_on_and_the_end_decides():
    late = {number: (number / 10, number / 10, number / 10) for number in range(9)}
    late[6] = (0.6, 0.9, 0.95)
    late[8] = (0.8, 0.85, 0.0)  # second at the second rung, so it is not trained further
    steps, result = played(late)
    assert sorted(n for rung, n in steps if rung == 1) == list(range(9))
    assert sorted(n for rung, n in steps if rung == 2) == [6, 7, 8]
    assert [n for rung, n in steps if rung == 3] == [6]
    assert [trial.number for trial in result][:3] == [6, 8, 7]


def test_what_is_kept_trains_to_the_end_beside_the_best_third():
    scores = {number: (number / 10,) * 3 for number in range(9)}
    scores[0] = (0.0, 0.1, 0.99)
    steps, result = played(scores, frozenset({"default"}))
    assert sorted(n for rung, n in steps if rung == 2) == [0, 6, 7, 8]
    assert sorted(n for rung, n in steps if rung == 3) == [0, 7, 8]
    assert result[0].number == 0


def test_a_search_goes_on_where_it_was_interrupted():
    scores = {number: (number / 10,) * 3 for number in range(6)}
    steps, recorded = [], []

    def advance(trial, rung):
        if len(steps) == 4 and not recorded[-1:] == ["again"]:
            raise KeyboardInterrupt
        steps.append((rung, trial.number))
        return replace(trial, rung=rung, validation=scores[trial.number][rung - 1])

    trials = [HalvingTrial(number, "sampled", {}) for number in range(6)]
    with pytest.raises(KeyboardInterrupt):
        halve(trials, advance, recorded.append)
    last = recorded[-1]
    assert [trial.rung for trial in last] == [1, 1, 1, 1, 0, 0]
    recorded.append("again")
    assert halve(last, advance, lambda trials: None)[0].number == 5
    assert steps == [*((1, n) for n in range(6)), (2, 5), (2, 4), (3, 5)]


def test_a_failed_trial_is_last_and_is_not_tried_again():
    def advance(trial, rung):
        if trial.number == 1:
            return replace(trial, failure="the loss is not finite")
        return replace(trial, rung=rung, validation=0.1)

    result = halve([HalvingTrial(n, "sampled", {}) for n in range(2)], advance, lambda trials: None)
    assert [(trial.number, trial.validation) for trial in result] == [(0, 0.1), (1, None)]


def test_rungs_are_a_ninth_a_third_and_all_of_the_epochs():
    assert [rung_epochs(rung, 27) for rung in (1, 2, 3)] == [3, 9, 27]
    assert [rung_epochs(rung, 4) for rung in (1, 2, 3)] == [2, 2, 4]
    assert [rung_epochs(rung, 1) for rung in (1, 2, 3)] == [1, 1, 1]


@pytest.fixture
def setting(small_corpus, tmp_path):
    training = TrainingConfig(epochs=9, batch_size=256, patience=None)
    validate = EvaluationProtocol(small_corpus, EvaluationConfig(k=20)).validator()
    return HalvingSetting("nash", 16, small_corpus, None, training, validate, tmp_path)


def test_a_trial_that_paused_ends_as_one_that_did_not(setting, small_corpus):
    params = {"hidden": 16, "dropout": 0.3}
    trial = HalvingTrial(0, "sampled", params)
    reached = []
    for rung in (1, 2, 3):
        trial = setting.advance(trial, rung)
        reached.append((trial.rung, trial.epochs))
    assert reached == [(1, 2), (2, 3), (3, 9)]
    whole = fit(
        build("nash", small_corpus.shape, 16, params), small_corpus.train, setting.training, validate=setting.validate
    )
    assert trial.validation == whole.best_validation
    assert not list(setting.states.rglob("*.pt")), "the state of a complete trial is removed"


def test_a_rung_that_was_reached_but_not_recorded_is_not_trained_again(setting):
    first = HalvingTrial(0, "sampled", {"hidden": 16})
    once = setting.advance(first, 1)
    assert setting.advance(first, 1) == once


def test_closed_forms_end_at_the_first_rung_and_failures_say_why(setting):
    closed = replace(setting, method="pcah").advance(HalvingTrial(0, "default", {}), 1)
    assert (closed.rung, closed.epochs, closed.failure) == (3, 1, "")
    assert 0 < closed.validation < 1
    failed = setting.advance(HalvingTrial(1, "sampled", {"learning_rate": 1e30, "hidden": 16}), 1)
    assert failed.validation is None
    assert failed.failure
    assert math.isfinite(closed.validation)
