"""Tables of what words go with, and the stacked autoencoder: loops, and the plain formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.autograd import gradcheck

from texthash.nn.enrichment import Enrichment, concept_table, cooccurrence_table
from texthash.nn.stacked import StackedAutoencoder


def test_a_text_gets_the_sum_of_what_its_words_have() -> None:
    layer = Enrichment(4, 2, 3)
    index, weight = np.array([[0, 2], [1, 0], [0, 0], [2, 1]]), np.array([[0.5, 0.5], [1, 0], [0, 0], [0.25, 0.75]])
    layer.set((index, weight.astype(np.float32)))
    texts = [[0, 3], [], [2], [1, 0]]
    bag = SimpleNamespace(
        indices=torch.tensor([word for text in texts for word in text]),
        offsets=torch.tensor([0, 2, 2, 3]),
        document=torch.tensor([0, 0, 2, 3, 3]),
    )
    assert layer(bag).tolist() == [[0.5, 0.75, 0.75], [0, 0, 0], [0, 0, 0], [0.5, 1, 0.5]]


def test_company_is_that_of_the_highest_information() -> None:
    counts = csr_matrix(np.array([[0, 4, 1, 5], [4, 0, 0, 0], [1, 0, 0, 0], [5, 0, 0, 0]], float))
    information = csr_matrix(np.array([[0, 2.0, 3.0, 1.0], [2.0, 0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 0]]))
    index, weight = cooccurrence_table(counts, information, 2)
    assert index[0].tolist() == [2, 1]
    assert weight[0].tolist() == pytest.approx([1 / 5, 4 / 5])
    assert weight[1].tolist() == [1, 0]
    assert weight[3].tolist() == [0, 0], "a word without company adds nothing"


def test_words_of_one_direction_have_one_concept() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(3)[np.arange(30) % 3]
    vectors = (directions + 0.05 * rng.standard_normal((30, 3))) * rng.uniform(1, 9, (30, 1))
    vectors[29] = 0
    index, weight = concept_table(vectors.astype(np.float32), 3, 2)
    assert all(len(set(index[group:29:3, 0])) == 1 for group in range(3))
    assert len(set(index[:3, 0])) == 3
    np.testing.assert_allclose(weight[:29].sum(axis=1), 1, rtol=1e-6)
    assert (weight[:29, 0] > 0.9).all()
    assert not weight[29].any()
    assert concept_table(np.zeros((4, 2), np.float32), 3, 2)[1].sum() == 0
    assert concept_table(vectors[:2].astype(np.float32), 5, 4)[1].shape == (2, 4)


def test_the_stack_is_the_plain_formula() -> None:
    torch.manual_seed(0)
    stack = StackedAutoencoder([5, 4, 3]).double()
    x = torch.rand(2, 5, dtype=torch.float64)
    w1, w2 = stack.weights
    first = torch.sigmoid(x @ w1.T + stack.up[0])
    torch.testing.assert_close(stack.encode(x, 1).sigmoid(), first)
    code = stack.encode(x)
    torch.testing.assert_close(code, first @ w2.T + stack.up[1])
    z = torch.sigmoid(code)
    torch.testing.assert_close(stack.decode(z), torch.sigmoid(z @ w2 + stack.down[1]) @ w1 + stack.down[0])
    back = torch.sigmoid(first @ w1 + stack.down[0])
    expected = -(x * back.log() + (1 - x) * (1 - back).log()).sum(dim=1)
    torch.testing.assert_close(stack.layer_error(0, x, x), expected)
    leaf = x.clone().requires_grad_()
    assert gradcheck(lambda value: stack.layer_error(0, x, value), (leaf,))
    stack.start_at(torch.full((5,), 0.25, dtype=torch.float64))
    torch.testing.assert_close(torch.sigmoid(stack.down[0]), torch.full((5,), 0.25, dtype=torch.float64))
