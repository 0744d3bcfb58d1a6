"""WISH: topics of their own width, kept apart; NASH where they are the identity."""

import torch

from texthash.corpora.prepared.batches import batches
from texthash.methods.base import Progress
from texthash.methods.registry import build

BITS = 8


def test_topics_that_are_the_identity_make_it_nash(small_corpus):
    params = {"hidden": 64, "dropout": 0.0, "stochastic": False}
    nash = build("nash", small_corpus.shape, BITS, params)
    wish = build("wish", small_corpus.shape, BITS, {**params, "topic_width": BITS, "orthogonality": 0.0})
    weights = nash.state_dict() | {"decoder.topics": torch.eye(BITS)}
    wish.load_state_dict(weights)
    batch = next(iter(batches(small_corpus.train, 32)))
    theirs, ours = nash.loss(batch, Progress(0, 10)), wish.loss(batch, Progress(0, 10))
    torch.testing.assert_close({**theirs, "orthogonality": torch.tensor(0.0)}, dict(ours))


def test_codes_are_drawn_in_training_only(small_corpus):
    method = build("wish", small_corpus.shape, BITS, {"dropout": 0.0})
    batch = next(iter(batches(small_corpus.train, 32)))
    drawn = [method.sample(batch, Progress(0, 10))[0] for _ in range(2)]
    assert not torch.equal(*drawn)
    assert torch.equal(*(method.activations(batch) for _ in range(2)))
