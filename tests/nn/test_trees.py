"""The divergence of an edge against covariance matrices and an integral; spanning trees against enumeration."""

import itertools

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from texthash.nn.priors import gaussian_kl
from texthash.nn.trees import TreeEdges, edge_kl, spanning_trees


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_node_and_edge_terms_are_the_divergence_of_the_two_dimensional_gaussians():
    means = random(3, 5, seed=1), random(3, 5, seed=2)
    stds = random(3, 5, seed=3).exp(), random(3, 5, seed=4).exp()
    f, tau = random(3, 5, seed=5), 0.9
    g = torch.tanh(f / 2)
    found = edge_kl(means, stds, f, tau)
    for mean, std in zip(means, stds, strict=True):
        found = found + gaussian_kl(mean, 2 * std.log())
    expected = torch.zeros(3, dtype=torch.float64)
    prior = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), torch.tensor([[1, tau], [tau, 1]], dtype=torch.float64)
    )
    for i, b in itertools.product(range(3), range(5)):
        s, t = stds[0][i, b], stds[1][i, b]
        covariance = torch.stack([torch.stack([s * s, g[i, b] * s * t]), torch.stack([g[i, b] * s * t, t * t])])
        posterior = torch.distributions.MultivariateNormal(torch.stack([means[0][i, b], means[1][i, b]]), covariance)
        expected[i] += torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(found, expected)


def test_it_is_the_integral():
    """The integral over a grid, for one bit, of the divergence that the pair adds to that of the single Gaussians."""
    mean, std, f, tau = (0.4, -0.3), (0.7, 1.1), 1.2, 0.8
    g = np.tanh(f / 2)
    grid = np.linspace(-8, 8, 1601)
    x, y = np.meshgrid(grid, grid, indexing="ij")

    def normal(x, y, mean, std, g):
        u, v = (x - mean[0]) / std[0], (y - mean[1]) / std[1]
        scale = 2 * np.pi * std[0] * std[1] * np.sqrt(1 - g * g)
        return np.exp(-(u * u - 2 * g * u * v + v * v) / (2 * (1 - g * g))) / scale

    q, p = normal(x, y, mean, std, g), normal(x, y, (0, 0), (1, 1), tau)
    single = normal(x, y, mean, std, 0) / normal(x, y, (0, 0), (1, 1), 0)
    step = grid[1] - grid[0]
    expected = (q * (np.log(q) - np.log(p))).sum() * step**2 - (q * np.log(single)).sum() * step**2
    pair = [tuple(torch.tensor([[v]]) for v in values) for values in (mean, std)]
    assert float(edge_kl(*pair, torch.tensor([[f]]), tau)) == pytest.approx(expected, abs=1e-4)


def test_without_correlations_an_edge_adds_nothing_and_extreme_ones_stay_finite():
    means, stds = (random(2, 4, seed=1), random(2, 4, seed=2)), (random(2, 4).exp(), random(2, 4, seed=3).exp())
    torch.testing.assert_close(edge_kl(means, stds, torch.zeros(2, 4).double(), 0.0), torch.zeros(2).double())
    f = torch.tensor([[-300.0, 300.0, -40.0, 40.0]]).repeat(2, 1).requires_grad_()
    loss = edge_kl(tuple(m.float() for m in means), tuple(s.float() for s in stds), f, 0.99).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(f.grad).all()


def graph(nodes=60, k=4, seed=0):
    rng = np.random.default_rng(seed)
    near = np.array([rng.permutation([j for j in range(nodes) if j != i])[:k] for i in range(nodes)], np.int32)
    p = rng.random((nodes, k))
    return near, p / p.sum(axis=1, keepdims=True)


def symmetric(edges):
    nodes = len(edges.indptr) - 1
    rows = np.repeat(np.arange(nodes), np.diff(edges.indptr))
    return coo_matrix((edges.shares, (rows, edges.others)), (nodes, nodes)).toarray()


def test_a_tree_spans_the_graph_and_has_no_circle():
    near, p = graph()
    for seed in range(5):
        shares = symmetric(spanning_trees(near, p, trees=1, seed=seed))
        assert np.array_equal(shares, shares.T)
        assert (shares > 0).sum() == 2 * (len(near) - 1), "as many edges as a tree has"
        assert connected_components(shares)[0] == 1
        linked = np.zeros_like(shares, bool)
        np.put_along_axis(linked, near, True, axis=1)
        assert not (shares > 0)[~(linked | linked.T)].any(), "edges of the graph only"
    many = symmetric(spanning_trees(near, p, trees=10))
    assert many.sum() == pytest.approx(2 * (len(near) - 1))
    assert many.max() <= 1


def test_of_a_graph_in_parts_each_part_has_its_tree_and_an_isolated_node_none():
    near = np.array([[1], [0], [3], [2], [0]], np.int32)
    p = np.array([[1.0], [1.0], [1.0], [1.0], [0.0]])
    edges = spanning_trees(near, p, trees=3)
    assert np.array_equal(symmetric(edges)[:4, :4], np.kron(np.eye(2), [[0, 1], [1, 0]]))
    others, weights = edges.draw(torch.arange(5))
    assert others.tolist() == [1, 0, 3, 2, 4]
    assert weights.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    nothing = spanning_trees(near, np.zeros((5, 1)), trees=2)
    assert nothing.draw(torch.arange(5))[0].tolist() == [0, 1, 2, 3, 4]


def test_trees_are_as_frequent_as_drawing_edges_one_by_one_makes_them():
    """A triangle with rates 3, 2, 1: of the first two edges drawn, which cannot close it."""
    rates = {(0, 1): 3.0, (0, 2): 2.0, (1, 2): 1.0}
    near = np.array([[1, 2], [2, 0], [0, 1]], np.int32)
    p = np.array([[3.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    expected = dict.fromkeys(rates, 0.0)
    for one, two in itertools.permutations(rates, 2):
        chance = rates[one] / 6 * rates[two] / (6 - rates[one])
        expected[one] += chance
        expected[two] += chance
    shares = symmetric(spanning_trees(near, p, trees=6_000))
    for edge, share in expected.items():
        assert shares[edge] == pytest.approx(share, abs=0.02)


def test_a_drawn_edge_of_each_node_is_an_unbiased_estimate_of_the_sum_over_edges():
    near, p = graph(nodes=12, k=3)
    edges = spanning_trees(near, p, trees=7)
    value = np.random.default_rng(1).random((12, 12))
    value += value.T
    expected = np.triu(symmetric(edges) * value).sum() / 12
    rows = torch.arange(12).repeat(20_000)
    others, weights = edges.draw(rows, torch.Generator().manual_seed(0))
    found = (0.5 * weights.numpy() * value[rows.numpy(), others.numpy()]).mean()
    assert found == pytest.approx(expected, rel=0.01)


def test_the_last_edge_is_drawn_too_and_none_behind_it(monkeypatch):
    edges = TreeEdges(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0]), np.array([0.5, 0.5, 0.5, 0.5]))
    for u, others in ((0.0, [1, 0, 0]), (0.75, [2, 0, 0]), (1.0, [2, 0, 0])):
        monkeypatch.setattr(torch, "rand", lambda shape, u=u, **options: torch.full(shape, u))
        assert edges.draw(torch.arange(3))[0].tolist() == others
