"""The training loop: selection on validation, patience, resumption, bad losses."""

from dataclasses import replace

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.errors import TexthashError
from texthash.methods.base import ClosedForm
from texthash.methods.nash import NASH
from texthash.methods.registry import build
from texthash.training.checkpoints import LocalCheckpointer
from texthash.training.loop import fit

CONFIG = TrainingConfig(epochs=4, batch_size=64, seed=5)


def _scores(values):
    """A validation that answers the given figures in turn."""
    left = iter(values)
    return lambda method: next(left)


def _epochs(result):
    return [report for report in result.history if report.stage == "train"]


def _weights(method):
    return {key: value.clone() for key, value in method.state_dict().items()}


def test_the_best_epoch_is_kept(small_corpus):
    seen = []

    def validate(method):
        seen.append(_weights(method))
        return [0.1, 0.9, 0.5, 0.2][len(seen) - 1]

    result = fit(build("vdsh", small_corpus.shape, 16), small_corpus.train, CONFIG, validate=validate)
    assert result.best_validation == 0.9
    assert all(torch.equal(value, seen[1][key]) for key, value in result.method.state_dict().items())


def test_patience_ends_training(small_corpus):
    config = CONFIG.model_copy(update={"epochs": 10, "patience": 2})
    result = fit(
        build("nash", small_corpus.shape, 16),
        small_corpus.train,
        config,
        validate=_scores([0.5, 0.6, 0.6, 0.4, 0.9]),
    )
    assert [report.validation for report in _epochs(result)] == [0.5, 0.6, 0.6, 0.4]


def test_validation_may_be_rarer_than_epochs_but_the_last_is_always_validated(small_corpus):
    config = CONFIG.model_copy(update={"epochs": 5, "validate_every": 2})
    result = fit(build("nash", small_corpus.shape, 16), small_corpus.train, config, validate=_scores([0.1, 0.2, 0.3]))
    assert [report.validation for report in _epochs(result)] == [None, 0.1, None, 0.2, 0.3]


class _Projected(NASH):
    """Ends in a closed-form stage that draws at random."""

    def stages(self):
        return (*super().stages(), ClosedForm("projection", self.project))

    def project(self, train):
        self.logits.weight.data.normal_()


def test_a_closed_form_stage_after_the_minibatches_decides_the_weights(small_corpus):
    figures = _scores([0.9, 0.8, 0.7, 0.6, 0.5])
    trained = _Projected(small_corpus.shape, 16)
    result = fit(trained, small_corpus.train, CONFIG, validate=figures)
    assert result.best_validation == 0.5
    again = fit(_Projected(small_corpus.shape, 16), small_corpus.train, CONFIG)
    assert torch.equal(result.method.logits.weight, again.method.logits.weight), "the seed decides what it draws"


class _Pretrained(NASH):
    """Trains twice; the first time its codes are not judged."""

    def stages(self):
        words, train = super().stages()
        return words, replace(train, name="pretraining", selected=False), train


def test_pretraining_is_not_judged_and_keeps_its_last_epoch(small_corpus):
    seen = []

    def validate(method):
        seen.append(_weights(method))
        return [0.9, 0.1, 0.2, 0.3][len(seen) - 1]

    result = fit(_Pretrained(small_corpus.shape, 16), small_corpus.train, CONFIG, validate=validate)
    reports = [report for report in result.history if report.stage in ("pretraining", "train")]
    assert [report.validation for report in reports] == [None, None, None, None, 0.9, 0.1, 0.2, 0.3]
    assert reports[4].terms["reconstruction"] < reports[3].terms["reconstruction"]
    assert all(torch.equal(value, seen[0][key]) for key, value in result.method.state_dict().items())


class _Stopped(Exception):
    pass


def test_a_run_stopped_after_any_epoch_ends_as_if_it_had_not_been(small_corpus, tmp_path):
    straight = fit(build("nash", small_corpus.shape, 16), small_corpus.train, CONFIG)

    def stop_after_two(report):
        if report.epoch == 3:
            raise _Stopped

    checkpointer = LocalCheckpointer(tmp_path)
    with pytest.raises(_Stopped):
        fit(
            build("nash", small_corpus.shape, 16),
            small_corpus.train,
            CONFIG,
            on_epoch=stop_after_two,
            checkpointer=checkpointer,
        )
    resumed = fit(build("nash", small_corpus.shape, 16), small_corpus.train, CONFIG, checkpointer=checkpointer)
    assert [report.epoch for report in _epochs(resumed)] == [1, 2, 3, 4]
    for key, value in straight.method.state_dict().items():
        torch.testing.assert_close(resumed.method.state_dict()[key], value, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_term(small_corpus):
    method = build("vdsh", small_corpus.shape, 16)
    method.decoder.weight.data.fill_(float("nan"))
    with pytest.raises(TexthashError, match="'reconstruction' is nan in epoch 1"):
        fit(method, small_corpus.train, CONFIG)


def test_bf16_autocast_trains_and_leaves_float32_weights(small_corpus):
    config = CONFIG.model_copy(update={"epochs": 2, "autocast": "bf16"})
    result = fit(build("nash", small_corpus.shape, 16), small_corpus.train, config)
    terms = [report.terms["reconstruction"] for report in _epochs(result)]
    assert terms[1] < terms[0]
    assert {value.dtype for value in result.method.parameters()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_asking_for_a_gpu_where_there_is_none_is_an_error(small_corpus):
    config = CONFIG.model_copy(update={"use_gpu": True})
    with pytest.raises(TexthashError, match="finds no CUDA device"):
        fit(build("nash", small_corpus.shape, 16), small_corpus.train, config)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_training_on_a_gpu(small_corpus):
    config = CONFIG.model_copy(update={"use_gpu": True, "autocast": "bf16"})
    result = fit(build("nash", small_corpus.shape, 16), small_corpus.train, config)
    assert result.method.binarizer.thresholds.is_cuda
    assert _epochs(result)[-1].terms["reconstruction"] < _epochs(result)[0].terms["reconstruction"]
