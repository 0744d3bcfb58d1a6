"""VDSH-PW is VDSH without pairs and has no parameter for labels; CTH shows labels to its decoder, not to its codes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import EvaluationConfig, TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus, Split
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.errors import TexthashError
from texthash.evaluation.protocol import Validator
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.training.loop import fit

BITS, DOCUMENTS = 16, 12
AFFINITIES = ["inner_product", "gaussian", "bhattacharyya", "cosine", "wasserstein"]


def progress():
    return Progress(step=5, total=10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def batch(small_corpus):
    return next(iter(batches(small_corpus.train, DOCUMENTS, Inputs(needs={"labels"}), shuffle_seed=1)))


def made(name, corpus, **params):
    method = build(name, corpus.shape, BITS, {"hidden": 32, **params}, seed=1)
    method.setup(corpus.train)
    return method


def test_without_pairs_it_is_vdsh_bit_for_bit(small_corpus):
    training = TrainingConfig(epochs=2, batch_size=64, labelled=0.5)
    plain, pairwise = (
        fit(made(name, small_corpus, **params), small_corpus.train, training)
        for name, params in (("vdsh", {}), ("vdsh_pw", {"pair_weight": 0.0}))
    )
    one, two = plain.method.state_dict(), pairwise.method.state_dict()
    assert one.keys() == two.keys(), "no parameter for labels"
    assert all(torch.equal(one[key], two[key]) for key in one)
    trained = fit(made("vdsh_pw", small_corpus), small_corpus.train, training).method
    assert not torch.equal(trained.state_dict()["mean.weight"], one["mean.weight"])


@pytest.mark.parametrize("affinity", AFFINITIES)
def test_the_pair_term_is_that_of_a_double_loop(affinity, small_corpus, batch):
    method = made("vdsh_pw", small_corpus, affinity=affinity, pair_weight=2.0, margin=1.5).eval()
    found = float(method.loss(batch, progress())["pairs"].detach())
    with torch.no_grad():
        mean, log_variance = (x.double() for x in method.posterior(batch))
    v, label = mean - mean.mean(dim=0), batch.labels.argmax(dim=1).tolist()
    variance = log_variance.exp()

    def loss_of(i, j):
        same, gap = label[i] == label[j], float((mean[i] - mean[j]).square().sum())
        if affinity == "cosine":
            cosine = float(v[i] @ v[j]) / math.sqrt(float(v[i] @ v[i]) * float(v[j] @ v[j]))
            return (cosine - (1 if same else -1)) ** 2
        if affinity == "wasserstein":
            d = gap + float((variance[i].sqrt() - variance[j].sqrt()).square().sum())
            return d / BITS if same else max(0.0, 1.5 - d / BITS)
        if affinity == "inner_product":
            p = 1 / (1 + math.exp(-float(v[i] @ v[j]) / 2))
        elif affinity == "gaussian":
            p = math.exp(-gap / BITS)
        else:
            total = variance[i] + variance[j]
            overlap = (2 * (variance[i] * variance[j]).sqrt() / total).sqrt()
            p = float((overlap * torch.exp(-((mean[i] - mean[j]) ** 2) / (4 * total))).prod())
        return -math.log(p if same else 1 - p)

    kinds = {True: [], False: []}
    for i, j in itertools.permutations(range(DOCUMENTS), 2):
        kinds[label[i] == label[j]].append(loss_of(i, j))
    assert all(kinds.values())
    assert found == pytest.approx(2 * sum(sum(k) / len(k) / 2 for k in kinds.values()), rel=1e-3)


class _Shuffled(Split):
    """A split whose documents have each other's labels."""

    @property
    def label_ids(self):
        indptr, indices = super().label_ids
        return indptr, np.random.default_rng(0).permutation(indices)


@pytest.mark.parametrize("name", ["vdsh_pw", "cth"])
def test_labels_of_other_documents_lower_precision(name, small_corpus):
    validate = Validator(small_corpus.path, EvaluationConfig(k=20))
    training = TrainingConfig(epochs=6, batch_size=64)
    right, wrong = (
        fit(made(name, small_corpus), train, training, validate=validate).best_validation
        for train in (small_corpus.train, _Shuffled("train", small_corpus))
    )
    assert right > wrong + 0.1


@pytest.mark.parametrize("affinity", AFFINITIES)
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_it_trains_with_any_share_of_labels(affinity, share, small_corpus):
    method = made("vdsh_pw", small_corpus, affinity=affinity)
    history = fit(method, small_corpus.train, TrainingConfig(epochs=1, batch_size=64, labelled=share)).history
    assert all(math.isfinite(value) for report in history for value in report.terms.values())


@pytest.mark.parametrize("name", ["vdsh_pw", "cth"])
def test_a_document_without_labels_is_in_no_pair(name, small_corpus):
    train = partly_labelled(small_corpus.train, 0.5, seed=0)
    half = next(iter(batches(train, 64, Inputs(needs={"labels"}))))
    method = made(name, small_corpus, affinity="cosine", pair_codes="sample")
    z = torch.randn(64, BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    method.pairs(z, z, z, half.labels).backward()
    assert (z.grad.abs().sum(dim=1) > 0).tolist() == half.labelled.tolist()


@pytest.mark.parametrize("name", ["vdsh_pw", "cth", "psh", "ssbvae"])
@pytest.mark.parametrize("labels", [0, 1])
def test_a_corpus_without_labels_to_tell_apart_is_refused(name, labels):
    shape = CorpusShape(vocabulary=50, labels=labels, documents=100)
    with pytest.raises(TexthashError, match=f"needs two of them or more, and was given {labels}"):
        build(name, shape, BITS)


@pytest.mark.parametrize("name", ["vdsh_pw", "cth", "psh", "ssbvae"])
def test_several_labels_a_document_are_learned_from(name, small_corpus, batch):
    several = replace(batch, labels=(batch.labels + batch.labels.roll(1, dims=1)).clamp(max=1))
    method = build(name, replace(small_corpus.shape, multi_label=True), BITS, {"hidden": 32})
    method.setup(small_corpus.train)
    terms = method.loss(several, progress())
    assert all(torch.isfinite(term) for term in terms.values())
    assert float(terms["pairs"].detach()) != 0


def test_the_decoder_of_cth_sees_labels_and_its_codes_do_not(small_corpus, batch):
    method = made("cth", small_corpus).eval()
    torch.nn.init.normal_(method.label_words, generator=torch.Generator().manual_seed(0))
    other = replace(batch, labels=batch.labels.roll(1, dims=1))
    with torch.no_grad():
        one, two = (method.loss(b, progress())["reconstruction"] for b in (batch, other))
        assert not torch.equal(one, two)
        assert torch.equal(method.activations(batch), method.activations(replace(batch, labels=None)))


def test_pairs_of_cth_have_no_gradient_outside_of_the_encoder(small_corpus, batch):
    method = made("cth", small_corpus)
    method.loss(batch, progress())["pairs"].backward()
    reached = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"encoder", "mean"}


def test_bits_of_cth_are_compared_for_labels_for_groups_or_for_both(small_corpus, batch):
    names = small_corpus.label_names
    tree = dict.fromkeys(names[:4], "first") | dict.fromkeys(names[4:7], "second")  # the last one lacks a parent
    corpus = PreparedCorpus(small_corpus.path, replace(small_corpus.manifest, label_parents=tree))
    method = made("cth", corpus, condition="bits", affinity="cosine", pair_codes="sample")
    assert method.members.sum(dim=0).tolist() == [1, 4, 3]
    z = torch.randn(len(batch), BITS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    whole = method.pairs(z, z, z, batch.labels)
    alone = made("vdsh_pw", corpus, affinity="cosine", pair_codes="sample")
    parts = [(method.bits_of("labels"), batch.labels), (method.bits_of("groups"), batch.labels @ method.members)]
    expected = sum(alone.pairs(z[:, at], z[:, at], z[:, at], y) for at, y in parts)
    torch.testing.assert_close(whole, expected)
    assert set(parts[0][0]) & set(parts[1][0]) == set(range(8))
    assert set(parts[0][0]) | set(parts[1][0]) == set(range(16))
    assert not hasattr(method, "label_words")
