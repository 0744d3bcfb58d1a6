"""NbrReg: VDSH with a second decoder, of the union of the neighbours' words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from texthash.corpora.prepared.batches import batches
from texthash.errors import UsageError
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.hasher import Hasher

BITS = 16


def at(seed=0):
    return Progress(step=1, total=2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def method(small_corpus):
    method = build("nbrreg", small_corpus.shape, BITS, {"neighbours": 4, "hidden": 32}).eval()
    method.setup(small_corpus.train)
    return method


@pytest.fixture
def batch(method, small_corpus):
    return next(iter(batches(small_corpus.train, 8, method.inputs)))


def test_a_loss_by_hand(method, batch, small_corpus):
    """With N = 0 and c = 0 all words are equally likely: log V for each word that any neighbour has."""
    torch.nn.init.zeros_(method.neighbour_decoder.weight)
    words = small_corpus.train.matrix("binary").toarray() > 0
    unions = [words[near].any(axis=0).sum() for near in batch.neighbours.numpy()]
    expected = np.mean(unions) * np.log(words.shape[1])
    assert float(method.loss(batch, at())["neighbours"]) == pytest.approx(expected, rel=1e-5)


def test_without_the_neighbours_it_is_vdsh(method, batch, small_corpus):
    with torch.no_grad():
        method.neighbour_weight = 0.0
    params = {key: value for key, value in method.hyperparameters.items() if not key.startswith(("neigh", "graph"))}
    vdsh = build("vdsh", small_corpus.shape, BITS, params).eval()
    vdsh.load_state_dict({k: v for k, v in method.state_dict().items() if not k.startswith("neighbour_decoder")})
    ours, theirs = method.loss(batch, at()), vdsh.loss(batch, at())
    assert float(ours.pop("neighbours")) == 0
    assert ours == theirs
    assert torch.equal(method.activations(batch), vdsh.activations(batch))


def gradients(method, batch):
    method.zero_grad()
    sum(method.loss(batch, at()).values()).backward()
    return {name: parameter.grad.clone() for name, parameter in method.named_parameters()}


def test_other_neighbours_change_the_encoder_and_their_decoder_and_leave_the_decoder_of_the_words(method, batch):
    others = replace(batch, neighbours=batch.neighbours.roll(1, dims=0))
    one, two = gradients(method, batch), gradients(method, others)
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert {"neighbour_decoder.weight", "encoder.first.weight"} <= changed
    assert torch.equal(one["decoder.weight"], two["decoder.weight"])
    assert torch.equal(one["decoder.bias"], two["decoder.bias"])


def test_a_document_without_neighbours_has_no_neighbour_term(method, batch):
    alone = replace(batch, neighbour_weights=torch.zeros_like(batch.neighbour_weights))
    assert float(method.loss(alone, at())["neighbours"]) == 0
    weights = batch.neighbour_weights.clone()
    weights[0, 1:] = 0
    first = replace(batch, neighbour_weights=weights)
    words = method.neighbour_words(first)
    bag = method.bags(batch.neighbours[0, :1])
    assert words.indices[words.document == 0].tolist() == bag.indices.tolist()


@pytest.mark.parametrize("name", ["nbrreg"])
def test_a_corpus_that_is_smaller_than_the_neighbours_is_refused_before_any_work(name, small_corpus):
    shape = replace(small_corpus.shape, documents=4)
    with pytest.raises(UsageError, match=r"^method\.params\.neighbours=9: the corpus has 4 training documents") as no:
        build(name, shape, BITS, {"neighbours": 9})
    assert no.value.remedy == "set method.params.neighbours to at most 3."
    with pytest.raises(UsageError, match="method\\.params\\.graph='cosine:bm26'"):
        build(name, shape, BITS, {"graph": "cosine:bm26"})
    assert build(name, shape, BITS, {"neighbours": 3}).inputs.neighbours == 3


def test_codes_depend_on_no_neighbours(method, small_corpus):
    texts = next(small_corpus.validation.documents(16))["text"].to_pylist()
    assert np.array_equal(
        Hasher.of(method, small_corpus).encode(texts),
        Hasher.of(method, small_corpus).encode_split(small_corpus.validation)[:16],
    )
