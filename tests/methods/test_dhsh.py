"""DHSH is a supervised BVAE with triplets on two levels and a loss of the documents that are hard to tell apart."""

import math
from dataclasses import replace

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.errors import TexthashError
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.nn.priors import bernoulli_kl
from texthash.training.loop import fit

BITS, DOCUMENTS = 16, 24


def progress(epoch=0):
    return Progress(step=5, total=10, epoch=epoch, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def batch(small_corpus):
    inputs = Inputs("sublinear_tfidf", needs={"labels"})
    return next(iter(batches(small_corpus.train, DOCUMENTS, inputs, shuffle_seed=1)))


def made(corpus, **params):
    method = build("dhsh", corpus.shape, BITS, {"hidden": 32, **params}, seed=1)
    method.setup(corpus.train)
    return method.eval()


def test_without_triplets_and_hard_documents_it_is_a_bvae_with_a_classifier(small_corpus, batch):
    method = made(small_corpus, triplet_weight=0.0, hard_weight=0.0, label_weight=2.0)
    terms = {name: term.detach() for name, term in method.loss(batch, progress()).items()}
    with torch.no_grad():
        x = torch.zeros(DOCUMENTS, small_corpus.shape.vocabulary)
        x[batch.document, batch.indices] = batch.values
        hidden = x @ method.encoder.first.weight + method.encoder.first.bias
        logits = method.logits(torch.where(hidden > 0, hidden, 0.01 * hidden))
        h = (logits > 0).float()
        log_p = torch.log_softmax(h @ method.decoder.weight + method.decoder.bias, dim=1)
        log_y = torch.log_softmax(method.labels.map(h), dim=1)
    torch.testing.assert_close(terms["reconstruction"], -(x * log_p).sum(dim=1).mean())
    torch.testing.assert_close(terms["kl"], bernoulli_kl(logits).mean())
    torch.testing.assert_close(terms["labels"], -2 * (batch.labels * log_y).sum(dim=1).mean())
    assert float(terms["triplets"]) == float(terms["hard"]) == 0


def two_levels(corpus):
    """The small corpus with a tree that lacks its last label."""
    names = corpus.label_names
    tree = dict.fromkeys(names[:4], "first") | dict.fromkeys(names[4:7], "second")
    return PreparedCorpus(corpus.path, replace(corpus.manifest, label_parents=tree))


def test_triplets_are_of_labels_and_of_their_groups(small_corpus, batch):
    method = made(two_levels(small_corpus), margin=0.3)
    codes = (torch.rand(DOCUMENTS, BITS, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    found = float(method.triplets(codes, batch.labels, progress()))
    generator, label = torch.Generator().manual_seed(0), batch.labels.argmax(dim=1).tolist()
    group_of = [0, 0, 0, 0, 1, 1, 1, 2]
    expected = 0.0
    for kind in (label, [group_of[c] for c in label]):
        draws, losses = torch.rand(DOCUMENTS, DOCUMENTS, generator=generator), []
        for i in range(DOCUMENTS):
            near = [j for j in range(DOCUMENTS) if j != i and kind[j] == kind[i]]
            far = [j for j in range(DOCUMENTS) if kind[j] != kind[i]]
            if near and far:
                p, n = (max(js, key=lambda j, i=i: float(draws[i, j])) for js in (near, far))
                losses.append(max(0.0, math.dist(codes[i], codes[p]) - math.dist(codes[i], codes[n]) + 0.3))
        expected += sum(losses) / len(losses)
    assert found == pytest.approx(expected, rel=1e-4)


def test_centres_are_computed_every_few_epochs_from_the_codes_seen(small_corpus, batch):
    method = made(small_corpus, refit=2)
    for epoch in (0, 1):
        assert float(method.loss(batch, progress(epoch))["hard"].detach()) == 0
    method.loss(batch, progress(2))
    labels = batch.labels.bool().any(dim=0)
    assert (~method.centres.radii.isnan()).tolist() == labels.tolist(), "of the classes of these documents"
    with torch.no_grad():
        codes = (method.activations(batch) > 0).float()
    first = int(batch.labels[0].argmax())
    torch.testing.assert_close(method.centres.centres[first], codes[batch.labels[:, first] > 0].mean(dim=0))


def test_a_document_without_labels_is_in_no_triplet_and_never_hard(small_corpus):
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    half = next(iter(batches(train, 64, Inputs(needs={"labels"}), shuffle_seed=1)))
    method = made(small_corpus)
    method.setup(train)
    codes = torch.rand(64, BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    method.centres.write(half.rows, codes.detach())
    method.centres.fit(1)
    both = method.triplets(codes, half.labels, progress()) + method.centres.loss(codes, half.labels, 5.0)
    both.backward()
    assert not codes.grad[~half.labelled].any()
    assert codes.grad[half.labelled].any()


@pytest.mark.parametrize("share", [0.01, 1.0])
def test_it_trains_with_any_share_of_labels_and_a_saved_model_holds_no_training_documents(
    share, small_corpus, tmp_path
):
    config = TrainingConfig(epochs=3, batch_size=64, labelled=share)
    fitted = fit(build("dhsh", small_corpus.shape, BITS, {"hidden": 32, "refit": 1}), small_corpus.train, config)
    assert all(math.isfinite(value) for report in fitted.history for value in report.terms.values())
    assert fitted.history[-1].terms["hard"] > 0 or share < 1
    again = Hasher.load(Hasher.of(fitted.method, small_corpus).save(tmp_path / "model"))
    assert not [key for key in again.method.state_dict() if key.startswith(("centres", "members"))]


@pytest.mark.parametrize("labels", [0, 1])
def test_a_corpus_without_labels_to_tell_apart_is_refused(labels):
    with pytest.raises(TexthashError, match=f"needs two of them or more, and was given {labels}"):
        build("dhsh", CorpusShape(vocabulary=50, labels=labels, documents=100), BITS)


def test_several_labels_a_document_are_learned_from(small_corpus, batch):
    several = replace(batch, labels=(batch.labels + batch.labels.roll(1, dims=1)).clamp(max=1))
    method = build("dhsh", replace(small_corpus.shape, multi_label=True), BITS, {"hidden": 32, "refit": 1})
    method.setup(small_corpus.train)
    for epoch in (0, 1):
        terms = method.loss(several, progress(epoch))
    assert all(torch.isfinite(term) for term in terms.values())
