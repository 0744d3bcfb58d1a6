"""IHDH looks at another document of the same category, and at the groups of the labels that it predicts."""

import math
from dataclasses import replace

import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches, take
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.errors import TexthashError
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.hasher import Hasher
from texthash.training.loop import fit

BITS, DOCUMENTS = 16, 12


def progress(seed=0):
    return Progress(step=5, total=10, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, DOCUMENTS, Inputs(needs={"labels"}), shuffle_seed=1)))


def made(corpus, **params):
    method = build("ihdh", corpus.shape, BITS, {"hidden": 32, **params}, seed=1)
    method.setup(corpus.train)
    return method.eval()


def test_a_reference_has_a_label_of_its_document(small_corpus, batch):
    method = made(small_corpus)
    labels = torch.from_numpy(small_corpus.train.labels.toarray()).float()
    drawn = [method.references(batch, progress(seed)) for seed in range(20)]
    for rows in drawn:
        assert bool(((labels[rows] * batch.labels).sum(dim=1) > 0).all())
    assert len({int(rows[0]) for rows in drawn}) > 10, "another one each time"


def test_without_fusion_a_code_is_that_of_the_document_alone(small_corpus, batch):
    method = made(small_corpus)
    torch.nn.init.zeros_(method.fusion.bias)
    own, other = torch.randn(2, 5, BITS, generator=torch.Generator().manual_seed(0))
    assert torch.equal(method.fused(own, other), own)


def test_after_a_step_a_code_depends_on_the_reference(small_corpus, batch):
    method = made(small_corpus)
    assert not method.fusion.weight.any()
    method.step(batch, progress(), method.optimizers())
    assert bool(method.fusion.weight.any())
    own, one, two = torch.randn(3, 5, BITS, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(method.fused(own, one), method.fused(own, two))
    shift = torch.nn.functional.tanhshrink(method.fusion.bias)
    torch.testing.assert_close(method.fused(own, own), own + shift, msg="its own reference adds a constant")


def test_the_terms_are_those_of_plain_loops(small_corpus, batch):
    """With a tree that lacks a label."""
    names = small_corpus.label_names
    tree = dict.fromkeys(names[:4], "first") | dict.fromkeys(names[4:7], "second")
    corpus = PreparedCorpus(small_corpus.path, replace(small_corpus.manifest, label_parents=tree))
    method = made(corpus, pair_weight=2.0, quantization_weight=3.0, label_weight=0.5, reference_weight=4.0)
    torch.nn.init.normal_(method.fusion.weight, generator=torch.Generator().manual_seed(0))
    found = {name: float(term.detach()) for name, term in method.loss(batch, progress()).items()}
    with torch.no_grad():
        rows = method.references(batch, progress()).numpy()
        d, r = (method.code(method.encoder(b)) for b in (batch, take(corpus.train, rows)))
        weight, bias = method.fusion.weight, method.fusion.bias

        def fused(x, y):
            t = ((y - x) * y) @ weight.T + bias
            return (x + t - torch.tanh(t)).double()

        x_d, x_r = fused(d, r), fused(r, d)
        q = torch.sigmoid(method.label_map(x_d.float())).tolist()
    label = batch.labels.argmax(dim=1).tolist()
    groups = ((7,), (0, 1, 2, 3), (4, 5, 6))
    labels = pairs = quantization = reference = 0.0
    for i in range(DOCUMENTS):
        of_labels = math.dist(q[i], [float(c == label[i]) for c in range(8)])
        either = [1 - math.prod(1 - q[i][c] for c in group) for group in groups]
        labels += of_labels + 1.2 * math.dist(either, [float(label[i] in group) for group in groups])
        for x in (x_d, x_r):
            signs = [1.0 if value > 0 else -1.0 for value in x[i]]
            quantization += math.dist(x[i].tolist(), signs)
            errors = [float(x[i] @ x[j]) - (BITS if label[i] == label[j] else -BITS) for j in range(DOCUMENTS)]
            pairs += math.hypot(*errors)
        reference += math.dist(x_d[i].tolist(), x_r[i].tolist())
    del found["reconstruction"]
    expected = {
        "quantization": 3 * quantization,
        "labels": 0.5 * labels,
        "pairs": 2 * pairs,
        "reference": 4 * reference,
    }
    assert found == pytest.approx({name: value / DOCUMENTS for name, value in expected.items()}, rel=1e-3)


def test_words_count_once_whatever_their_weight(small_corpus, batch):
    method = made(small_corpus)
    for parameter in method.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    words = len(batch.indices) / DOCUMENTS
    found = float(method.loss(batch, progress())["reconstruction"].detach())
    assert found == pytest.approx(words * math.log(small_corpus.shape.vocabulary), rel=1e-5)


def test_a_document_without_labels_is_its_own_reference_and_in_no_term_of_labels(small_corpus):
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    half = next(iter(batches(train, 64, Inputs(needs={"labels"}), shuffle_seed=1)))
    method = made(small_corpus)
    method.setup(train)
    rows = method.references(half, progress())
    assert torch.equal(rows[~half.labelled], half.rows[~half.labelled])
    x = torch.randn(64, BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (method.pairs(x, half.labels) + method.of_labels(x, half, progress())).backward()
    assert (x.grad.abs().sum(dim=1) > 0).tolist() == half.labelled.tolist()


@pytest.mark.parametrize("share", [1e-9, 0.01, 1.0])
def test_it_trains_with_any_share_of_labels_and_a_saved_model_holds_no_training_documents(
    share, small_corpus, tmp_path
):
    config = TrainingConfig(epochs=1, batch_size=64, labelled=share)
    fitted = fit(build("ihdh", small_corpus.shape, BITS, {"hidden": 32}), small_corpus.train, config)
    assert all(math.isfinite(value) for report in fitted.history for value in report.terms.values())
    again = Hasher.load(Hasher.of(fitted.method, small_corpus).save(tmp_path / "model"))
    assert not [key for key in again.method.state_dict() if key.startswith(("members", "starts", "of_label"))]


@pytest.mark.parametrize("labels", [0, 1])
def test_a_corpus_without_labels_to_tell_apart_is_refused(labels):
    with pytest.raises(TexthashError, match=f"needs two of them or more, and was given {labels}"):
        build("ihdh", CorpusShape(vocabulary=50, labels=labels, documents=100), BITS)


def test_several_labels_a_document_are_learned_from(small_corpus, batch):
    several = replace(batch, labels=(batch.labels + batch.labels.roll(1, dims=1)).clamp(max=1))
    method = made(small_corpus)
    drawn = torch.stack([method.references(several, progress(seed)) for seed in range(20)])
    labels = torch.from_numpy(small_corpus.train.labels.toarray()).float()
    assert len(set(labels[drawn[:, 0]].argmax(dim=1).tolist())) == 2, "of either label"
    assert all(torch.isfinite(term) for term in method.loss(several, progress()).values())
