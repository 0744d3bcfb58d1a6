"""The two methods on restricted Boltzmann machines: what their codes and their losses depend on."""

import math

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches, take
from texthash.corpora.prepared.inputs import Inputs
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.training.loop import fit

SMALL = {"hidden": 32, "words": 500, "pretraining_epochs": 2, "epochs": 3}


@pytest.fixture(scope="module")
def spectral(small_corpus):
    return fit(build("dgm_sph", small_corpus.shape, 16, {**SMALL, "features": 8}), small_corpus.train, TrainingConfig())


@pytest.fixture(scope="module")
def documents(small_corpus):
    return next(iter(batches(small_corpus.validation, 300, Inputs("counts"))))


def test_codes_are_eigenfunctions_along_a_direction_of_the_features(spectral, documents):
    method = spectral.method
    with torch.no_grad():
        features = method.encode(method.read(documents))
        values = method.activations(documents)
        u = features @ method.projection.weight.T + method.projection.bias
        for j, (k, omega) in enumerate(zip(method.modes.component, method.modes.frequency, strict=True)):
            expected = torch.sin(math.pi / 2 + omega * (u[:, k] - method.modes.lowest[k]))
            torch.testing.assert_close(values[:, j], expected)
    directions = method.projection.weight
    torch.testing.assert_close(directions @ directions.T, torch.eye(7), atol=1e-4, rtol=0)
    assert len(set(method.modes.component.tolist())) < 16, "seven components take several modes each"


def test_the_top_of_the_features_decides_the_code(spectral, documents):
    """Other features of the same documents give other codes."""
    method = spectral.method
    with torch.no_grad():
        before = method.activations(documents) > 0
        method.top.hidden_bias += 1.0
        after = method.activations(documents) > 0
        method.top.hidden_bias -= 1.0
    assert (before != after).float().mean() > 0.05


def test_each_machine_is_learned_before_all_are_tuned(spectral):
    stages = list(dict.fromkeys(report.stage for report in spectral.history))
    assert stages == [
        "frequent words",
        "machine: words",
        "machine: middle",
        "machine: top",
        "unrolling",
        "fine-tuning",
        "eigenfunctions",
        "thresholds",
    ]
    for stage in ("machine: words", "fine-tuning"):
        told = [report.terms["reconstruction"] for report in spectral.history if report.stage == stage]
        assert told[-1] < told[0], stage


def test_units_of_a_machine_do_not_become_copies_of_each_other(small_corpus):
    """From weights that hardly differ Adam moves all units alike, until each says how long the document is."""

    def directions(init):
        method = build("dgm_sph", small_corpus.shape, 16, {**SMALL, "init": init})
        method.choose_words(small_corpus.train)
        optimizers = method.stages()[1].optimizers()
        for batch in batches(small_corpus.train, 64, Inputs("counts"), shuffle_seed=0):
            method.contrast(0)(batch, Progress(0, 1, generator=torch.Generator().manual_seed(0)), optimizers)
        with torch.no_grad():
            hidden = method.probabilities(
                method.read(next(iter(batches(small_corpus.train, 500, Inputs("counts"))))), 1
            )
            spread = torch.linalg.eigvalsh(torch.cov(hidden.T))
        return float(spread.sum() ** 2 / spread.square().sum())  # as many as vary, were they to vary alike

    assert directions(0.01) < 4
    assert directions(0.1) > 2 * directions(0.01)


def test_unrolling_starts_the_decoder_at_the_machines(small_corpus):
    method = build("stacked_rbm", small_corpus.shape, 16, SMALL)
    method.choose_words(small_corpus.train)
    method.unroll(small_corpus.train)
    assert torch.equal(method.words.weight, method.bottom.up.weight)
    assert torch.equal(method.down_top.weight, method.top.weight)
    chosen = torch.nonzero(method.places >= 0)[:, 0].numpy()
    frequency = small_corpus.vocabulary.document_frequency
    assert len(chosen) == 500
    assert frequency[chosen].min() >= max(f for w, f in enumerate(frequency) if method.places[w] < 0)


def test_noise_is_of_the_document_and_not_of_the_epoch(small_corpus):
    method = build("stacked_rbm", small_corpus.shape, 16, SMALL)
    method.choose_words(small_corpus.train)
    method.setup(small_corpus.train)
    batch = next(iter(batches(small_corpus.train, 64, Inputs("counts"))))
    losses = [float(method.loss(batch, Progress(step, 10))["reconstruction"].detach()) for step in (0, 5)]
    assert losses[0] == losses[1]
    top = torch.zeros(2, 16)
    twice = method.code(top, take(small_corpus.train, [3, 4], Inputs("counts")))
    assert not torch.allclose(twice[0], twice[1])
    assert "noise_of" not in method.state_dict()


def test_the_threshold_is_one_of_probabilities(small_corpus):
    method = build("stacked_rbm", small_corpus.shape, 16, {"threshold": 0.1})
    logits = torch.logit(torch.tensor([0.09, 0.11]))[:, None].expand(2, 16)
    assert method.binarizer(logits)[:, 0].tolist() == [False, True]
