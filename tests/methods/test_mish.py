"""MISH: PairRec with codes of which a multi-index search meets fewer."""

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.hamming.codes import unpack
from texthash.methods.base import Progress
from texthash.methods.registry import build
from texthash.models.encoding import encode_split
from texthash.nn.index_cost import CodeMemory, block_masks
from texthash.training.loop import fit

BITS = 32
PARAMS = {"hidden": 32, "neighbours": 3, "costly_neighbours": 0.5}


def at(step=1, seed=0):
    return Progress(step=step, total=2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def method(small_corpus):
    method = build("mish", small_corpus.shape, BITS, PARAMS).eval()
    method.setup(small_corpus.train)
    return method


@pytest.fixture
def batch(method, small_corpus):
    return next(iter(batches(small_corpus.train, 300, method.inputs)))


def test_the_terms_are_those_of_enumeration(method, batch, monkeypatch):
    """Documents, radius, block and what is found, by loops over all pairs; codes do not change between the passes."""
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, 0.5, dtype=options.get("dtype")))
    monkeypatch.setattr(torch, "randn", lambda shape, **options: torch.zeros(shape))
    with torch.no_grad():
        method.logits.weight.mul_(30)  # p = 0 or 1
        codes = torch.where(method.activations(batch) > 0, 1, -1).numpy()
    terms = method.loss(batch, at())
    masks, documents = block_masks(BITS, 2).numpy(), len(method.documents)
    apart = (codes[:, None] != codes[None]).sum(axis=2)
    k, push, draw = max(1, 100 * 300 // documents), [], []
    for a, distances in enumerate(apart):
        others = [b for b in range(300) if b != a]
        radius = np.sort(distances[others])[k - 1]
        s = int(0.5 * (radius + 1))
        r, mask = s // 2, masks[s % 2]
        in_block = ((codes[a] != codes) * mask).sum(axis=1)
        false = [distances[b] for b in others if distances[b] > radius and in_block[b] == r]
        push.append(mask.sum() - 2 * r if false else 0)
        true = [distances[b] for b in others if 3 < distances[b] <= radius]
        draw.append(-(BITS - 2 * max(true)) if true else 0)
    assert any(push)
    assert any(draw)
    assert float(terms["false_candidates"].detach()) == pytest.approx(np.mean(push), rel=1e-5)
    assert float(terms["costly_neighbours"].detach()) == pytest.approx(0.5 * np.mean(draw), rel=1e-5)


def test_the_document_itself_has_no_gradient_from_the_index(method, batch):
    """Only the codes that are encoded again have: those of other documents."""
    method.loss(batch, at())
    codes = torch.where(method.activations(batch) > 0, 1.0, -1.0).requires_grad_()
    terms = method.index_terms(batch.rows, codes.detach(), at())
    sum(terms.values()).backward()
    assert codes.grad is None
    assert method.logits.weight.grad.abs().sum() > 0


def test_without_its_terms_it_is_pairrec_of_signs_and_remembers_nothing(small_corpus, batch):
    method = build("mish", small_corpus.shape, BITS, {"hidden": 32, "neighbours": 3, "false_candidates": 0.0})
    method.setup(small_corpus.train)
    assert set(method.loss(batch, at())) == {"reconstruction", "kl", "pair"}
    assert len(method.memory) == 0
    codes = method.draw_codes(torch.randn(5, BITS), at())
    assert set(codes.unique().tolist()) == {-1.0, 1.0}


def test_the_memory_is_not_part_of_the_model(method, batch):
    method.loss(batch, at())
    assert len(method.memory) == 300
    assert [name for name in method.state_dict() if name.startswith("memory.")]
    assert not [name for name in method.inference_state_dict() if name.startswith("memory")]


def candidates(codes, queries, k):
    """Codes that a search by two halves of the bits meets, by query."""
    halves = zip(np.split(unpack(queries), 2, axis=1), np.split(unpack(codes), 2, axis=1), strict=True)
    first, second = ((asked[:, None] != rows).sum(axis=2) for asked, rows in halves)
    radius = np.sort(first + second)[:, k - 1 : k]
    return ((first <= radius // 2) | (second <= (radius - 1) // 2)).sum(axis=1)


def test_a_search_meets_fewer_candidates(small_corpus):
    """On validation queries, at about the same reconstruction."""
    met, words = [], []
    for weight in (0.0, 8.0):
        params = {"hidden": 64, "false_candidates": weight}
        fitted = fit(build("mish", small_corpus.shape, BITS, params), small_corpus.train, TrainingConfig(epochs=12))
        codes, queries = (encode_split(fitted.method, split) for split in (small_corpus.train, small_corpus.validation))
        met.append(candidates(codes, queries, 10).mean())
        words.append(fitted.history[-1].terms["reconstruction"])
    assert met[1] < 0.95 * met[0]
    assert words[1] == pytest.approx(words[0], rel=0.05)


def test_it_learns_from_more_documents_than_it_remembers(method, small_corpus):
    """Some documents of the second batch are remembered, and others of it take their places."""
    method.memory = CodeMemory(len(small_corpus.train), BITS, size=200)
    for epoch in range(2):
        batch = next(iter(batches(small_corpus.train, 150, method.inputs, epoch)))
        assert all(bool(term.isfinite()) for term in method.loss(batch, at()).values())
    assert (method.memory.place[batch.rows] < 0).any()
