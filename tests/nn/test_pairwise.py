"""Losses of pairs against the plain double loop over documents."""

import itertools
import math

import pytest
import torch

from texthash.nn.pairwise import (
    agreement,
    bhattacharyya_affinity,
    distinct_pairs,
    gaussian_affinity,
    jaccard,
    labelled_pairs,
    pair_contrastive,
    pair_cosine,
    pair_likelihood,
    pair_logistic,
    pair_signed,
    pair_weights,
    random_triplets,
    row_inner_products,
    shared_label,
    wasserstein_distances,
)

N, BITS = 6, 4
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(0)
CODES, LOG_VARIANCE = torch.randn(2, N, BITS, generator=GENERATOR, dtype=torch.float64)
SETS = [{c for c in range(3) if row[c]} for row in LABELS]
PAIRS = [(i, j) for i, j in itertools.product(range(N), repeat=2) if i != j and SETS[i] and SETS[j]]


def loop(function):
    """A matrix, entry by entry."""
    return torch.tensor([[float(function(i, j)) for j in range(N)] for i in range(N)], dtype=torch.float64)


def dot(i, j):
    return sum(float(CODES[i, k] * CODES[j, k]) for k in range(BITS))


def apart(i, j):
    return sum(float(CODES[i, k] - CODES[j, k]) ** 2 for k in range(BITS))


def jaccard_of(i, j):
    return len(SETS[i] & SETS[j]) / max(1, len(SETS[i] | SETS[j]))


SOFT = loop(jaccard_of)


def test_similarities():
    torch.testing.assert_close(shared_label(LABELS), loop(lambda i, j: bool(SETS[i] & SETS[j])))
    torch.testing.assert_close(jaccard(LABELS), SOFT)
    predicted = torch.softmax(CODES, dim=1)
    torch.testing.assert_close(
        agreement(predicted), loop(lambda i, j: sum(predicted[i, k] * predicted[j, k] for k in range(BITS)))
    )
    assert float(agreement(torch.ones(2, 3)).max()) == 1, "sigmoids of several labels"


def test_pairs_of_documents_without_labels_do_not_count_nor_does_one_with_itself():
    counted = labelled_pairs(LABELS)
    assert {(i, j) for i, j in itertools.product(range(N), repeat=2) if counted[i, j]} == set(PAIRS)
    assert int(distinct_pairs(torch.tensor([True, False, True])).sum()) == 2


def test_weights_are_a_mean_and_give_similar_pairs_half():
    pairs = labelled_pairs(LABELS)
    plain, balanced = (pair_weights(SOFT, pairs, balanced) for balanced in (False, True))
    torch.testing.assert_close(plain, loop(lambda i, j: ((i, j) in PAIRS) / len(PAIRS)))
    alike = sum(jaccard_of(i, j) for i, j in PAIRS)
    others = len(PAIRS) - alike
    expected = loop(
        lambda i, j: ((i, j) in PAIRS) * (jaccard_of(i, j) / alike / 2 + (1 - jaccard_of(i, j)) / others / 2)
    )
    torch.testing.assert_close(balanced, expected)
    assert float(balanced.sum()) == pytest.approx(1)
    hard = shared_label(LABELS)
    assert float((pair_weights(hard, pairs) * hard).sum()) == pytest.approx(0.5)


def test_without_pairs_or_without_one_kind_of_them_weights_stay_finite():
    none = torch.zeros(N, N, dtype=torch.bool)
    for balanced in (False, True):
        assert float(pair_weights(SOFT, none, balanced).abs().sum()) == 0
    ones = torch.ones(N, N, dtype=torch.float64)
    assert float(pair_weights(ones, distinct_pairs(ones[0] > 0)).sum()) == pytest.approx(0.5), "all of one class"


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (
            pair_logistic(CODES, SOFT),
            lambda i, j: (
                -(
                    jaccard_of(i, j) * math.log(1 / (1 + math.exp(-dot(i, j) / 2)))
                    + (1 - jaccard_of(i, j)) * math.log(1 / (1 + math.exp(dot(i, j) / 2)))
                )
            ),
        ),
        (
            pair_cosine(CODES, SOFT),
            lambda i, j: (dot(i, j) / math.sqrt(dot(i, i) * dot(j, j)) - 2 * jaccard_of(i, j) + 1) ** 2,
        ),
        (
            pair_contrastive(loop(apart), SOFT, margin=5.0),
            lambda i, j: jaccard_of(i, j) * apart(i, j) + (1 - jaccard_of(i, j)) * max(0.0, 5 - apart(i, j)),
        ),
        (pair_signed(loop(apart), SOFT), lambda i, j: (2 * jaccard_of(i, j) - 1) * apart(i, j)),
        (gaussian_affinity(CODES), lambda i, j: -apart(i, j) / BITS),
        (
            wasserstein_distances(CODES, LOG_VARIANCE),
            lambda i, j: (
                apart(i, j)
                + sum((math.exp(LOG_VARIANCE[i, k] / 2) - math.exp(LOG_VARIANCE[j, k] / 2)) ** 2 for k in range(BITS))
            ),
        ),
    ],
    ids=["logistic", "cosine", "contrastive", "signed", "gaussian", "wasserstein"],
)
def test_a_loss_or_distance_is_that_of_each_pair(found, entry):
    torch.testing.assert_close(found, loop(entry))


def test_bhattacharyya_coefficients_are_integrals_of_the_root_of_two_densities():
    x = torch.linspace(-40, 40, 80_001, dtype=torch.float64)

    def log_density(i, k):
        variance = float(LOG_VARIANCE[i, k].exp())
        return -((x - CODES[i, k]) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2

    def log_coefficient(i, j):
        roots = (torch.exp((log_density(i, k) + log_density(j, k)) / 2) for k in range(BITS))
        return sum(math.log(float(torch.trapezoid(root, x))) for root in roots)

    torch.testing.assert_close(bhattacharyya_affinity(CODES, LOG_VARIANCE), loop(log_coefficient))


def test_the_likelihood_of_a_pair_stays_finite_where_documents_are_equal():
    log_p = torch.tensor([[0.0, -2.0], [-2.0, 0.0]], requires_grad=True)
    found = pair_likelihood(log_p, torch.zeros(2, 2))
    assert float(found[0, 1].detach()) == pytest.approx(-math.log(1 - math.exp(-2)))
    found.sum().backward()
    assert bool(torch.isfinite(log_p.grad).all())
    assert float(pair_likelihood(torch.tensor([[-2.0]]), torch.ones(1, 1))) == pytest.approx(2)


def test_rows_of_inner_products_are_compared_with_m_and_minus_m():
    pairs = labelled_pairs(LABELS)
    found = row_inner_products(CODES, SOFT, pairs)
    for i in range(N):
        squares = [(dot(i, j) - BITS * (2 * jaccard_of(i, j) - 1)) ** 2 for j in range(N) if (i, j) in PAIRS]
        assert float(found[i]) == pytest.approx(math.sqrt(sum(squares)))
    perfect = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    every = torch.ones(3, 3, dtype=torch.bool)
    zero = row_inner_products(perfect.requires_grad_(), shared_label(labels), every)
    assert zero.tolist() == [0, 0, 0], "opposite codes of different classes"
    zero.sum().backward()
    assert bool(torch.isfinite(perfect.grad).all())


def test_a_triplet_is_of_one_positive_and_one_negative_of_its_anchor():
    draws = torch.rand(N, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    distances, similar = loop(apart), shared_label(LABELS)
    found, anchors = random_triplets(distances, similar, labelled_pairs(LABELS), draws, margin=0.5)
    for i in range(N):
        near = [j for j in range(N) if (i, j) in PAIRS and SETS[i] & SETS[j]]
        far = [j for j in range(N) if (i, j) in PAIRS and not SETS[i] & SETS[j]]
        assert bool(anchors[i]) == bool(near and far)
        if anchors[i]:
            p, n = (max(js, key=lambda j, i=i: float(draws[i, j])) for js in (near, far))
            assert float(found[i]) == pytest.approx(max(0.0, apart(i, p) - apart(i, n) + 0.5))
        else:
            assert float(found[i]) == 0
    assert int(anchors.sum()) == 4, "the last shares a label with all"


def test_every_loss_has_the_gradient_of_finite_differences():
    codes = CODES.clone().requires_grad_()
    weights = pair_weights(SOFT, labelled_pairs(LABELS))

    def total(z):
        d = torch.cdist(z, z).square() + torch.eye(N)
        parts = (pair_logistic(z, SOFT), pair_cosine(z, SOFT), pair_contrastive(d, SOFT, 30.0), pair_signed(d, SOFT))
        parts += (pair_likelihood(gaussian_affinity(z), SOFT), bhattacharyya_affinity(z, LOG_VARIANCE))
        return sum((weights * part).sum() for part in parts) + row_inner_products(z, SOFT, weights > 0).sum()

    assert torch.autograd.gradcheck(total, (codes,))
