"""The method texthash: neighbours that agree, mutual information in closed form, and codes that can be cut."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.errors import UsageError
from texthash.hamming.asymmetric import asymmetric
from texthash.methods.base import Progress
from texthash.methods.registry import build, methods
from texthash.models.encoding import encode_split
from texthash.models.hasher import Hasher
from texthash.nn.mutual_information import cross_entropy, window_marginals
from texthash.training.loop import fit

BITS = 32
NESTED = sorted(name for name, cls in methods().items() if cls.nested)


def at(step=1, seed=0):
    return Progress(step=step, total=2, generator=torch.Generator().manual_seed(seed))


def new(corpus, bits=BITS, **params):
    method = build("texthash", corpus.shape, bits, {"neighbours": 3, "entropy_weight": 2.0, **params})
    method.setup(corpus.train)
    return method


@pytest.fixture
def method(small_corpus):
    return new(small_corpus)


@pytest.fixture
def batch(method, small_corpus):
    return next(iter(batches(small_corpus.train, 8, method.inputs)))


@pytest.fixture(scope="module")
def trained(small_corpus):
    method = build("texthash", small_corpus.shape, BITS, {"neighbours": 5})
    return Hasher.of(fit(method, small_corpus.train, TrainingConfig(epochs=3, batch_size=64)).method, small_corpus)


def alone(batch):
    return replace(batch, neighbour_weights=torch.zeros_like(batch.neighbour_weights))


def test_where_nothing_is_known_both_terms_are_one_bit_for_each_bit(method, batch):
    for parameter in method.parameters():
        torch.nn.init.zeros_(parameter)
    terms = method.loss(batch, at())
    assert float(terms["neighbours"].detach()) == pytest.approx(BITS * math.log(2), rel=1e-6)
    assert float(terms["entropy"].detach()) == pytest.approx(-2.0 * BITS * math.log(2), rel=1e-6)


def test_the_loss_by_hand_of_two_documents_and_one_bit_each(method, batch):
    """Logits +-2 for two documents that are each other's neighbours: - p log p' - (1 - p) log (1 - p') a bit."""
    two = replace(
        next(iter(batches(method.documents, 2, method.inputs))),
        neighbours=torch.tensor([[1], [0]]),
        neighbour_weights=torch.ones(2, 1),
    )
    logits = torch.tensor([[2.0], [-2.0], [-2.0], [2.0]]).expand(4, BITS)
    method.activations = lambda bags: logits
    terms = method.loss(two, at())
    p = 1 / (1 + math.exp(-2))
    assert float(terms["neighbours"]) == pytest.approx(-BITS * (p * math.log(1 - p) + (1 - p) * math.log(p)), rel=1e-5)
    # All bits are the first: given it, z_j is on with probability p^2 + (1 - p)^2, or off with it.
    same = p**2 + (1 - p) ** 2
    method.earlier_bits = 1
    conditional = -same * math.log(same) - (1 - same) * math.log(1 - same)
    expected = -2.0 * (math.log(2) + (BITS - 1) * conditional)
    assert float(method.loss(two, at())["entropy"]) == pytest.approx(expected, rel=1e-5)


def test_without_neighbours_it_is_ammi_whose_adversary_has_won(method, batch, small_corpus):
    method.earlier_bits = 1
    method.activations = lambda bags, inner=method.activations: 40 * inner(bags)
    ammi = build("ammi", small_corpus.shape, BITS, {"prior_order": 0, "entropy_weight": 2.0})
    ammi.posterior.load_state_dict({k: 40 * v for k, v in method.projection.state_dict().items()})
    windows = window_marginals(ammi.logits(batch)).mean(dim=0)
    with torch.no_grad():
        ammi.prior.copy_((windows[..., 1] / windows[..., 0]).log())
    method.earlier_bits = 0
    ours, theirs = method.loss(alone(batch), at()), ammi.loss(batch, at())
    torch.testing.assert_close(ours["neighbours"], theirs["conditional_entropy"])
    torch.testing.assert_close(ours["entropy"], theirs["entropy"])
    assert float(cross_entropy(windows, ammi.prior).detach()) > 0


def test_a_neighbour_of_the_same_code_is_drawn_before_others(method, batch):
    signs = method.memory.signs
    signs[:] = -1
    signs[batch.rows] = 1
    last = batch.neighbours[:, -1]
    others = ~torch.isin(batch.neighbours, batch.rows).any(dim=1)
    assert others.any()
    signs[last[others]] = 1
    method.agreement = 1e3
    near = replace(batch, neighbour_weights=torch.ones_like(batch.neighbour_weights))
    drawn = method.agreeing_neighbours(near, at())
    agree = (signs[drawn] * signs[batch.rows]).float().mean(dim=1)
    assert (agree[others] == 1).all()
    assert torch.equal(method.agreeing_neighbours(alone(batch), at()), batch.rows), "alone, a document is its own"


def test_the_memory_holds_the_signs_of_the_latest_codes(method, batch):
    method.loss(batch, at())
    signs = method.memory.signs
    assert torch.equal(signs[batch.rows] > 0, method.activations(batch) > 0)
    assert int((signs != 0).any(dim=1).sum()) == len(batch)


def test_the_learning_rate_falls_linearly_to_its_last_share(method):
    assert [method.rate(at(step)) for step in (0, 1, 2)] == pytest.approx([1.0, 0.55, 0.1])


def test_neighbours_by_vectors_teach_an_encoder_of_words(encoded_shape, small_corpus):
    method = build("texthash", encoded_shape, 16, {"neighbours": 3, "graph": "features"})
    assert method.inputs.graph == f"dense:{encoded_shape.encoder}"
    fitted = fit(method, small_corpus.train, TrainingConfig(epochs=1, batch_size=64)).method
    assert not fitted.reads_features
    with pytest.raises(UsageError, match=r"method\.params\.graph=features"):
        build("texthash", small_corpus.shape, 16, {"neighbours": 3, "graph": "features"})


def test_it_reads_vectors_too(encoded_shape, small_corpus):
    """Vectors alone, and both: the loss is lower after training, and codes can be cut."""
    for given in ("features", "both"):
        method = build("texthash", encoded_shape, BITS, {"neighbours": 5, "input": given, "graph": "features"})
        history = fit(method, small_corpus.train, TrainingConfig(epochs=3, batch_size=64)).history
        first, last = (sum(history[epoch].terms.values()) for epoch in (0, -1))
        assert last < first
        assert method.reads_features
        codes = encode_split(method, small_corpus.validation)
        assert np.array_equal(encode_split(method.cut(16), small_corpus.validation), codes[:, :2])


def test_a_corpus_smaller_than_the_number_of_neighbours_has_all_of_them(small_corpus):
    shape = replace(small_corpus.shape, documents=12)
    assert build("texthash", shape, 16).inputs.neighbours == 11


def test_one_model_has_shorter_codes_too(trained, small_corpus, tmp_path):
    whole, part = trained.encode_split(small_corpus.validation), trained.cut(16).encode_split(small_corpus.validation)
    assert part.shape == (len(whole), 2)
    assert np.array_equal(part, whole[:, :2])
    again = Hasher.load(trained.save(tmp_path / "whole")).cut(16)
    assert again.name == trained.cut(16).name
    texts = next(small_corpus.validation.documents(8))["text"].to_pylist()
    saved = Hasher.load(again.save(tmp_path / "part"))
    assert np.array_equal(saved.encode(texts), trained.encode(texts)[:, :2])


@pytest.mark.parametrize("name", NESTED)
def test_the_codes_of_each_nested_method_can_be_cut(name, small_corpus):
    params = {"neighbours": 5} if name == "texthash" else {}
    method = build(name, small_corpus.shape, BITS, params)
    hasher = Hasher.of(fit(method, small_corpus.train, TrainingConfig(epochs=1, batch_size=64)).method, small_corpus)
    for bits in (8, BITS):
        part = hasher.cut(bits).encode_split(small_corpus.validation)
        assert np.array_equal(part, hasher.encode_split(small_corpus.validation)[:, : bits // 8])


def test_a_prefix_learns_as_if_no_bit_followed(small_corpus, batch):
    """Gradients of the first 16 bits are those of a model of 16 bits with the same weights and neighbours."""
    whole, part = (new(small_corpus, bits, agreement=0.0) for bits in (BITS, 16))
    part.projection.load_state_dict({k: v[..., :16] for k, v in whole.projection.state_dict().items()})
    found = []
    for method in (whole, part):
        sum(method.loss(batch, at()).values()).backward()
        found.append(method.projection.weight.grad[:, :16])
    torch.testing.assert_close(*found)


def test_codes_that_cannot_be_cut_say_so(trained, small_corpus):
    with pytest.raises(UsageError, match="first 16 bits of a code of nash are no code"):
        Hasher.of(build("nash", small_corpus.shape, BITS, {"hidden": 8}), small_corpus).cut(16)
    with pytest.raises(UsageError, match="have 32"):
        trained.cut(64)
    with pytest.raises(UsageError, match="multiple of 8"):
        trained.cut(12)


def similar(corpus, shape=None, **params):
    return build("texthash", shape or corpus.shape, BITS, {"neighbours": 5, "target": "similarity", **params})


def test_codes_learn_the_order_of_similarities(small_corpus):
    """Documents that were not trained on find more of their nearest by cosine than with the rotation alone."""
    words = [split.matrix("sublinear_tfidf") for split in (small_corpus.validation, small_corpus.train)]
    cosines = (words[0] @ words[1].T).toarray()
    wanted = np.argsort(-cosines, axis=1, kind="stable")[:, :10]
    kept = []
    for epochs in (1, 30):
        rate = 1e-9 if epochs == 1 else 0.01
        method = similar(small_corpus, learning_rate=rate)
        fitted = fit(method, small_corpus.train, TrainingConfig(epochs=epochs, batch_size=64)).method
        hasher = Hasher.of(fitted, small_corpus)
        texts = [text for table in small_corpus.validation.documents() for text in table["text"].to_pylist()]
        queries = hasher.query_values(hasher.read(texts, role="query").values)
        codes = encode_split(fitted, small_corpus.train)
        found = [np.argsort(-asymmetric(query, codes), kind="stable")[:10] for query in queries]
        kept.append(np.mean([len(np.intersect1d(*both)) for both in zip(found, wanted, strict=True)]))
    assert kept[1] > kept[0] + 0.1


def test_a_cut_model_of_similarities_scores_by_the_first_values(small_corpus, tmp_path):
    fitted = fit(similar(small_corpus), small_corpus.train, TrainingConfig(epochs=2, batch_size=64)).method
    whole = Hasher.of(fitted, small_corpus)
    texts = next(small_corpus.validation.documents(8))["text"].to_pylist()
    values = whole.query_values(whole.read(texts, role="query").values)
    part = Hasher.load(whole.cut(16).save(tmp_path / "part"))
    again = Hasher.load(whole.save(tmp_path / "whole"))
    for other, bits in ((part, 16), (again, BITS)):
        own = other.query_values(other.read(texts, role="query").values)
        np.testing.assert_allclose(own, values[:, :bits], atol=1e-5)
        assert np.array_equal(other.encode(texts), whole.encode(texts)[:, : bits // 8])
    assert np.abs(values - whole.pre_threshold_margins(whole.read(texts).values)).max() > 0


def test_short_queries_find_their_documents_by_words_that_are_left_out(small_corpus):
    """Three words of a document find more documents of its label than without few words in training."""
    texts = [text for table in small_corpus.validation.documents() for text in table["text"].to_pylist()]
    generator = np.random.default_rng(0)
    asked = [" ".join(generator.permutation(text.split())[:3]) for text in texts]
    relevant = (small_corpus.validation.labels @ small_corpus.train.labels.T).toarray() > 0
    found = {}
    for name, share in (("few", 1.0), ("all", 0.0)):
        method = similar(small_corpus, short_queries=share, short_documents=share / 2)
        fitted = fit(method, small_corpus.train, TrainingConfig(epochs=20, batch_size=64)).method
        hasher = Hasher.of(fitted, small_corpus)
        codes = encode_split(fitted, small_corpus.train)
        values = hasher.query_values(hasher.read(asked, role="query").values)
        nearest = [np.argsort(-asymmetric(query, codes), kind="stable")[:10] for query in values]
        found[name] = np.mean([relevant[row, near].mean() for row, near in enumerate(nearest)])
    assert found["few"] > found["all"]


def test_vectors_teach_similarities_to_an_encoder_of_words(encoded_shape, small_corpus):
    for teacher in ("features", "both"):
        method = similar(small_corpus, encoded_shape, teacher=teacher)
        history = fit(method, small_corpus.train, TrainingConfig(epochs=4, batch_size=64)).history
        assert not method.reads_features
        losses = [epoch.terms["similarity"] for epoch in history if epoch.terms]
        assert losses[-1] < losses[0]
    with pytest.raises(UsageError, match=r"method\.params\.teacher=both"):
        similar(small_corpus, teacher="both")
