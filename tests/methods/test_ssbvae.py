"""SSB-VAE takes the similarity of pairs from its own predictions, PSH-GS from labels."""

import math

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.training.loop import fit

BITS, DOCUMENTS = 16, 12


def progress():
    return Progress(step=5, total=10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labelled(small_corpus):
    return next(iter(batches(small_corpus.train, DOCUMENTS, Inputs(needs={"labels"}))))


@pytest.fixture(scope="module")
def unlabelled(small_corpus):
    train = partly_labelled(small_corpus.train, 1e-9, seed=0)
    batch = next(iter(batches(train, DOCUMENTS, Inputs(needs={"labels"}))))
    assert not bool(batch.labelled.any())
    return batch


def made(corpus, **params):
    return build("ssbvae", corpus.shape, BITS, {"hidden": 32, **params}).eval()


def test_the_loss_is_that_of_plain_loops(small_corpus, labelled):
    method = made(small_corpus, pair_weight=2.0, label_weight=3.0, kl_weight=0.5)
    terms = {name: float(term.detach()) for name, term in method.loss(labelled, progress()).items()}
    with torch.no_grad():
        hidden = method.encoder(labelled)
        logits = method.logits(hidden)
        u = torch.rand(DOCUMENTS, BITS, generator=torch.Generator().manual_seed(0))
        b = torch.sigmoid((logits + torch.log(u) - torch.log(1 - u)) / 0.67)
        y = torch.softmax(method.labels.map(hidden), dim=1)
        log_p = torch.log_softmax(b @ method.decoder.weight + method.decoder.bias, dim=1)
    p = torch.sigmoid(logits)
    words, pairs, kl, labels = 0.0, 0.0, 0.0, 0.0
    for i in range(DOCUMENTS):
        own = labelled.document == i
        share = labelled.values[own] / labelled.values[own].sum()
        words -= float((share * log_p[i, labelled.indices[own]]).sum()) / DOCUMENTS
        labels -= float(torch.log(y[i] @ labelled.labels[i])) / DOCUMENTS
        for k in range(BITS):
            q = float(p[i, k])
            kl += (math.log(2) + q * math.log(q) + (1 - q) * math.log(1 - q)) / DOCUMENTS
        for j in range(DOCUMENTS):
            d, s = float((b[i] - b[j]).square().sum()), float(y[i] @ y[j])
            if i != j:
                pairs += (s * d + (1 - s) * max(0.0, BITS / 3 - d)) / BITS / (DOCUMENTS * (DOCUMENTS - 1))
    assert terms == pytest.approx(
        {"reconstruction": words, "kl": 0.5 * kl, "labels": 3 * labels, "pairs": 2 * pairs}, rel=1e-4, abs=1e-6
    )


def pair_gradients(method, batch):
    method.loss(batch, progress())["pairs"].backward()
    head, code = method.labels.map.weight.grad, method.logits.weight.grad
    return 0.0 if head is None else float(head.abs().sum()), float(code.abs().sum())


def test_without_labels_predictions_still_pull_and_push_and_learn(small_corpus, unlabelled):
    head, code = pair_gradients(made(small_corpus), unlabelled)
    assert head > 0
    assert code > 0
    head, code = pair_gradients(made(small_corpus, stop_similarity=True), unlabelled)
    assert head == 0
    assert code > 0


def test_without_labels_psh_gs_repels_as_in_the_code_or_has_no_pairs(small_corpus, unlabelled):
    faithful = made(small_corpus, similarity="labels", mask_unlabelled=False)
    b = torch.rand(DOCUMENTS, BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    faithful.pairs(b, torch.zeros(DOCUMENTS, 32), unlabelled, progress()).backward()
    moved = (b - 1e-3 * b.grad).detach()
    apart, before = (torch.pdist(codes).mean() for codes in (moved, b.detach()))
    assert float(apart) > float(before), "a step only pushes documents apart"
    assert pair_gradients(made(small_corpus, similarity="labels"), unlabelled) == (0, 0)


def test_unlabelled_documents_change_no_pair_of_the_labelled(small_corpus):
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    batch = next(iter(batches(train, 64, Inputs(needs={"labels"}))))
    method = made(small_corpus, similarity="labels")
    b = torch.rand(64, BITS, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(64, 32)
    found = method.pairs(b, hidden, batch, progress())
    other = torch.where(batch.labelled[:, None], b, 1 - b)
    assert 0 < int(batch.labelled.sum()) < 64
    torch.testing.assert_close(method.pairs(other, hidden, batch, progress()), found)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 1.0])
def test_it_trains_with_any_share_of_labels(share, small_corpus):
    config = TrainingConfig(epochs=1, batch_size=64, labelled=share)
    history = fit(made(small_corpus), small_corpus.train, config).history
    assert all(math.isfinite(value) for report in history for value in report.terms.values())
