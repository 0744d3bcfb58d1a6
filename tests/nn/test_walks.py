"""Walks on a small graph, and the decoder of documents against the plain softmax."""

import numpy as np
import pytest
import torch

from texthash.nn.walks import NodeDecoder, walks

#  0 -> 1, 2;  1 -> 3, 0;  2 -> 4, 0;  3 -> 5 (6 at similarity 0);  4, 5, 6 -> 0;  7 alone
NEAR = np.array([[1, 2], [3, 0], [4, 0], [5, 6], [0, 1], [0, 1], [0, 1], [0, 1]], np.int32)
SIMILARITIES = np.array(
    [[0.9, 0.8], [0.7, 0.6], [0.7, 0.6], [0.5, 0], [0.4, 0], [0.4, 0], [0.4, 0], [0, 0]], np.float32
)


def visited(kind, start, length, seed=0):
    found = walks(NEAR, SIMILARITIES, torch.tensor([start, 7]), length, kind, torch.Generator().manual_seed(seed))
    assert found[1].tolist() == [7] + [-1] * length, "an isolated document visits itself"
    return [node for node in found[0].tolist() if node >= 0]


@pytest.mark.parametrize(
    ("kind", "start", "length", "expected"),
    [
        ("breadth", 0, 4, [0, 1, 2, 3, 4]),
        ("breadth", 0, 20, [0, 1, 2, 3, 4, 5]),
        ("depth", 0, 3, [0, 1, 3, 5]),
        ("depth", 0, 20, [0, 1, 3, 5, 2, 4]),
        ("neighbours", 0, 1, [0, 1]),
        ("neighbours", 3, 9, [3, 5]),
    ],
)
def test_walks_visit_each_document_once_in_their_order(kind, start, length, expected):
    assert visited(kind, start, length) == expected


def test_random_walks_follow_links_and_differ():
    seen = {tuple(visited("random", 0, 3, seed)) for seed in range(40)}
    assert len(seen) > 4
    for walk in seen:
        assert walk[0] == 0
        assert walk[1] in (1, 2)
        assert 6 not in walk, "a similarity of 0 is no link"


def decoder(exact, documents=30, drawn=8_192):
    made = NodeDecoder(documents, 8, exact, drawn)
    torch.nn.init.normal_(made.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(made.bias, generator=torch.Generator().manual_seed(1))
    return made


CODES = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
VISITED = torch.tensor([[4, 9, -1], [0, -1, -1], [29, 28, 9]])


def plain(made):
    log_q = torch.log_softmax(CODES @ made.weight.T + made.bias, dim=1)
    return torch.stack([log_q[0, [4, 9]].sum(), log_q[1, 0], log_q[2, [29, 28, 9]].sum()])


def test_it_is_the_softmax_over_all_documents():
    made = decoder(exact=30)
    torch.testing.assert_close(made.log_likelihood(CODES, VISITED), plain(made))


def test_of_many_documents_the_sum_is_estimated_without_bias():
    """exp of the normaliser, over many draws, against the sum; with all others drawn often, the value itself."""
    made, few = decoder(exact=29, drawn=100_000), decoder(exact=29, drawn=10)
    with torch.no_grad():
        found = made.log_likelihood(CODES, VISITED, torch.Generator().manual_seed(0))
        torch.testing.assert_close(found, plain(made), rtol=0, atol=0.05)
        generator = torch.Generator().manual_seed(0)
        one = torch.stack([few.log_likelihood(CODES, VISITED, generator)[1] for _ in range(8_000)])
        score = (CODES @ few.weight.T + few.bias)[1, 0]
        total = (score - one).exp().mean()
        exact = (CODES @ few.weight.T + few.bias)[1].exp().sum()
    assert float(total) == pytest.approx(float(exact), rel=0.05)


def test_all_documents_are_equally_likely_at_first():
    made = NodeDecoder(30, 8)
    expected = -np.log(30) * torch.tensor([2.0, 1.0, 3.0])
    torch.testing.assert_close(made.log_likelihood(CODES, VISITED), expected.float())
