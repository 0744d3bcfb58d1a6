"""Encoding of few texts without torch: the codes are those of torch, for every method that has the form for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.methods.registry import build, get_method, hyperparameters, methods
from texthash.models.direct import DirectEncoder
from texthash.models.hasher import Hasher

BITS = 16
OF_WORDS = [name for name in sorted(methods()) if not get_method(name).card.inputs_needed & {"dense", "token_vectors"}]
DIRECT = ["bvae", "itq", "lsh", "nash", "pcah", "sth", "vdsh"]  # some that are certainly of this form


def built(name: str, corpus: PreparedCorpus) -> Hasher:
    """A model with random weights, and thresholds at which bits are not all alike."""
    known = hyperparameters(name)
    method = build(name, corpus.shape, BITS, {"hidden": 64} if "hidden" in known else {}, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in method.parameters():
            weights.normal_(0, 0.1)
        method.binarizer.thresholds.normal_(0, 0.01)
    return Hasher.of(method, corpus)


@pytest.mark.parametrize("name", OF_WORDS)
def test_codes_are_those_of_torch(name: str, small_corpus: PreparedCorpus, tmp_path: Path) -> None:
    plain = built(name, small_corpus)
    loaded = Hasher.load(plain.save(tmp_path / name))
    if loaded._direct is None:
        assert name not in DIRECT
        return
    terms = small_corpus.vocabulary.terms
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(terms, rng.integers(1, 30))) for _ in range(300)] + ["", "qqqq"]
    expected = plain.read(texts)
    margins = plain.pre_threshold_margins(expected.values)
    found = [loaded.read([text]) for text in texts]
    values = torch.cat([one.values for one in found])
    np.testing.assert_allclose(values, expected.values, rtol=1e-4, atol=1e-5)
    assert [bool(one.known[0]) for one in found] == expected.known.tolist()
    differing = np.unpackbits(loaded.binarize(values) ^ plain.binarize(expected.values), axis=1).astype(bool)
    assert np.abs(margins[differing]).max(initial=0.0) < 1e-6
    assert differing.sum() <= 1
    together = loaded.read(texts[:40]).values
    assert torch.equal(together, values[:40]), "the values of a text depend on the others"


def test_a_bit_that_is_too_close_is_left_to_torch(small_corpus: PreparedCorpus) -> None:
    method = built("itq", small_corpus).method
    direct = DirectEncoder.of(method)
    assert direct is not None
    ids, weights = np.array([3, 5]), np.array([0.6, 0.8], np.float32)
    found = direct.activations(ids, weights)
    assert found is not None
    method.binarizer.thresholds[2] = float(found[2]) * (1 + 1e-7)
    close = DirectEncoder.of(method)
    assert close is not None
    assert close.activations(ids, weights) is None


def test_a_method_that_computes_something_else_is_left_to_torch(small_corpus: PreparedCorpus) -> None:
    method = built("itq", small_corpus).method

    class Other(type(method)):  # type: ignore[misc]
        def activations(self, batch, role="document"):
            return -super().activations(batch, role)

    method.__class__ = Other
    assert DirectEncoder.of(method) is None
