"""Sparse encoders and reconstruction against their dense forms."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from texthash.nn.binarizers import Binarizer, MedianBinarizer
from texthash.nn.encoders import MLPEncoder, SparseLinear
from texthash.nn.reconstruction import word_log_likelihood, word_shares


@pytest.fixture
def dense_and_bag():
    dense = sp.random(6, 30, density=0.2, random_state=1, dtype=np.float32).tolil()
    dense[2] = 0  # a document without a word
    rows = dense.tocsr()
    document = np.repeat(np.arange(6), np.diff(rows.indptr))
    bag = SimpleNamespace(
        indices=torch.from_numpy(rows.indices.astype(np.int64)),
        offsets=torch.from_numpy(rows.indptr[:-1].astype(np.int64)),
        values=torch.from_numpy(rows.data),
        document=torch.from_numpy(document.astype(np.int64)),
    )
    return torch.from_numpy(rows.toarray()), bag


def test_sparse_linear_equals_the_dense_product_and_its_gradient(dense_and_bag):
    dense, bag = dense_and_bag
    layer = SparseLinear(30, 5)
    layer.bias.data.normal_()
    output = layer(bag)
    torch.testing.assert_close(output, dense @ layer.weight + layer.bias)
    output.square().sum().backward()
    gradient = layer.weight.grad.clone()
    layer.weight.grad = None
    (dense @ layer.weight + layer.bias).square().sum().backward()
    torch.testing.assert_close(gradient, layer.weight.grad)


def test_encoder_is_deterministic_in_eval_mode_only(dense_and_bag):
    _, bag = dense_and_bag
    encoder = MLPEncoder(30, 16, dropout=0.5)
    assert not torch.equal(encoder(bag), encoder(bag))
    encoder.eval()
    assert torch.equal(encoder(bag), encoder(bag))


@pytest.mark.parametrize("weighted", [False, True])
def test_reconstruction_equals_the_dense_log_softmax(dense_and_bag, weighted):
    dense, bag = dense_and_bag
    logits = torch.randn(6, 30)
    targets = dense if weighted else (dense > 0).float()
    expected = (torch.log_softmax(logits, dim=1) * targets).sum(dim=1)
    torch.testing.assert_close(word_log_likelihood(logits, bag, bag.values if weighted else None), expected)
    assert float(expected[2]) == 0.0


def test_binarizers():
    activations = torch.tensor([[0.2, 0.9], [0.6, 0.5], [0.9, 0.1]])
    assert Binarizer(2, 0.5)(activations).tolist() == [[False, True], [True, False], [True, False]]
    median = MedianBinarizer(2)
    median.calibrate(activations)
    assert median(activations).tolist() == [[False, True], [False, False], [True, False]]


def test_the_shares_of_a_document_sum_to_one(dense_and_bag):
    dense, bag = dense_and_bag
    totals = torch.zeros(6).index_add(0, bag.document, word_shares(bag))
    torch.testing.assert_close(totals, (dense.sum(dim=1) > 0).float())
    torch.testing.assert_close(word_shares(bag)[0], bag.values[0] / dense[0].sum())
