"""PSH learns its codes by an unbiased gradient, from pairs whose labels and distances belong together."""

import itertools
import math

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.nn.estimators import straight_through_bernoulli
from texthash.nn.reconstruction import word_log_likelihood
from texthash.training.loop import fit

BITS, DOCUMENTS = 8, 6


def progress(seed=0):
    return Progress(step=5, total=10, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, DOCUMENTS, Inputs(needs={"labels"}), shuffle_seed=1)))


def made(corpus, **params):
    return build("psh", corpus.shape, BITS, {"hidden": 8, **params}, seed=1).eval()


def test_the_gradient_of_the_reconstruction_is_the_exact_one_on_average_and_that_of_straight_through_is_not(
    small_corpus, batch
):
    """By enumeration of all codes of the documents; the bias of the last layer stands for all parameters of l."""
    method = made(small_corpus)
    torch.nn.init.normal_(method.decoder.weight, std=3.0, generator=torch.Generator().manual_seed(0))
    bias = method.logits.bias
    codes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=BITS)))
    p = torch.sigmoid(method.logits(method.encoder(batch)))

    def unlikelihood(z):
        return -word_log_likelihood(method.decoder(z), batch, batch.values)

    with torch.no_grad():
        values = torch.stack([unlikelihood(code.expand(DOCUMENTS, BITS)) for code in codes])
    chances = torch.where(codes[:, None] > 0, p, 1 - p).prod(dim=2)
    (exact,) = torch.autograd.grad((chances * values).sum(dim=0).mean(), bias, retain_graph=True)

    def mean_of(draw, times=1500):
        found = torch.stack([torch.autograd.grad(draw(seed), bias, retain_graph=True)[0] for seed in range(times)])
        return found.mean(dim=0), 4 * found.std(dim=0) / math.sqrt(times)

    ours, error = mean_of(lambda seed: method.loss(batch, progress(seed))["reconstruction"])
    assert bool(((ours - exact).abs() < error).all())
    biased, error = mean_of(
        lambda seed: unlikelihood(straight_through_bernoulli(p, torch.Generator().manual_seed(seed))).mean()
    )
    assert bool(((biased - exact).abs() > error).any())


def test_a_pair_has_its_own_sign_and_distance(small_corpus, batch):
    method = made(small_corpus, pair_weight=1.0, balanced=False)
    found = method.loss(batch, progress())["pairs"]
    p = torch.sigmoid(method.activations(batch)).detach()
    label, total = batch.labels.argmax(dim=1), 0.0
    for i, j in itertools.permutations(range(DOCUMENTS), 2):
        sign = 1 if label[i] == label[j] else -1
        total += sign * float((p[i] - p[j]).square().sum()) / 2
    assert 1 < len(set(label.tolist())) < DOCUMENTS
    assert float(found.detach()) == pytest.approx(total / (DOCUMENTS * (DOCUMENTS - 1)), rel=1e-4)


def test_a_document_without_labels_is_in_no_pair(small_corpus):
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    half = next(iter(batches(train, 64, Inputs(needs={"labels"}))))
    method = made(small_corpus)
    p = torch.rand(64, BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    method.pairs(p, half, progress()).backward()
    assert (p.grad.abs().sum(dim=1) > 0).tolist() == half.labelled.tolist()


def test_pairs_bring_documents_of_a_label_together(small_corpus):
    method = made(small_corpus)
    training = TrainingConfig(epochs=4, batch_size=64)
    fit(method, small_corpus.train, training)
    batch = next(iter(batches(small_corpus.train, 256, Inputs(needs={"labels"}), shuffle_seed=0)))
    with torch.no_grad():
        bits = (method.eval().activations(batch) > 0).float()
    distance, same = torch.cdist(bits, bits, p=1), batch.labels @ batch.labels.T > 0
    assert float(distance[same].mean()) + 1 < float(distance[~same].mean())


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_it_trains_with_few_labels(share, small_corpus):
    history = fit(made(small_corpus), small_corpus.train, TrainingConfig(epochs=1, labelled=share)).history
    assert all(math.isfinite(value) for report in history for value in report.terms.values())
