"""The test that proves each baseline is this method and not another."""

import itertools

import numpy as np
import pytest
from scipy.stats import pearsonr

from texthash.corpora.prepared.corpus import CorpusShape
from texthash.hamming.codes import unpack
from texthash.methods.itq import itq_rotation
from texthash.methods.registry import build
from texthash.nn.spectral import laplacian_eigenmaps, principal_components, slowest_modes, symmetric_graph


def test_lsh_bits_differ_as_often_as_the_angle_says():
    method = build("lsh", CorpusShape(vocabulary=40, labels=1, documents=1), 1024, seed=1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 40))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    bits = (x @ method.hyperplanes.weight.numpy() + method.hyperplanes.bias.numpy()) > 0
    angle = np.arccos(x[0] @ x[1]) / np.pi
    assert np.mean(bits[0] != bits[1]) == pytest.approx(angle, abs=0.05)


def test_itq_objective_never_rises_and_the_rotation_is_orthogonal():
    components = np.random.default_rng(0).standard_normal((400, 12)).astype(np.float32)
    rotation, losses = itq_rotation(components, 30)
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(losses))
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(12), atol=1e-5)


@pytest.mark.parametrize(("sides", "second"), [((3.0, 1.0), 2), ((2.0, 1.0), 2), ((1.9, 1.0), 1)])
def test_spectral_hashing_splits_the_long_side_twice_iff_it_is_twice_as_long(sides, second):
    component, frequency = slowest_modes(np.array(sides), 2)
    assert component[0] == 0
    assert frequency[0] == pytest.approx(np.pi / sides[0])
    repeated = component[1] == 0 and frequency[1] == pytest.approx(2 * np.pi / sides[0])
    if sides[0] == 2.0:  # both modes are equally slow: either answer is right
        assert frequency[1] == pytest.approx(np.pi)
    else:
        assert repeated == (second == 2)


def test_sth_training_bits_are_balanced_and_are_the_database_codes(small_corpus):
    method = build("sth", small_corpus.shape, 16)
    for stage in method.stages():
        stage.fit(small_corpus.train)
    bits = unpack(method.database_codes())
    assert bits.shape == (len(small_corpus.train), 16)
    assert np.abs(bits.sum(axis=0) - len(small_corpus.train) / 2).max() <= 1


def test_pcah_projects_on_the_leading_eigenvectors_of_the_covariance(small_corpus):
    rows = small_corpus.train.matrix("tfidf")[:300, :200]
    directions, centre = principal_components(rows, 5)
    dense = rows.toarray() - rows.toarray().mean(axis=0)
    _, vectors = np.linalg.eigh(dense.T @ dense)
    for j in range(5):
        assert abs(directions[:, j] @ vectors[:, -1 - j]) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(rows @ directions - centre, dense @ directions, atol=1e-4)


def test_eigenmaps_solve_the_generalised_problem():
    rng = np.random.default_rng(0)
    neighbours = np.stack([rng.permutation(np.delete(np.arange(40), i))[:6] for i in range(40)])
    graph = symmetric_graph(neighbours, rng.uniform(0.1, 1, neighbours.shape))
    y = laplacian_eigenmaps(graph, 3)
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    laplacian = np.diag(degrees) - graph.toarray()
    for j in range(3):
        quotient = (y[:, j] @ laplacian @ y[:, j]) / (y[:, j] @ (degrees * y[:, j]))
        assert pearsonr(laplacian @ y[:, j], degrees * y[:, j]).statistic == pytest.approx(1.0, abs=1e-3)
        assert 0 < quotient < 1.5
