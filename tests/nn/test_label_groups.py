"""Groups of labels, and their probabilities against the sum over all assignments of their labels."""

import itertools
import math

import torch

from texthash.corpora.label_tree import LabelTree
from texthash.nn.label_groups import any_of, groups_of, membership

LABELS = ["comp.graphics", "comp.os", "misc", "rec", "rec.autos"]
TREE = LabelTree.of(LABELS, {"comp.graphics": "comp", "comp.os": "comp", "rec.autos": "rec"})
MEMBERS = membership(TREE.parents.tolist(), len(LABELS))


def test_a_label_without_a_parent_is_a_group_with_its_children():
    assert MEMBERS.T.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [1, 1, 0, 0, 0]]


def test_in_a_flat_tree_groups_are_labels():
    assert torch.equal(membership([-1, -1, -1], 3), torch.eye(3))


def test_a_document_is_in_the_groups_of_its_labels():
    labels = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0]])
    assert groups_of(labels, MEMBERS).tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_a_group_with_two_even_labels_has_three_quarters():
    assert any_of(torch.zeros(1, 5), MEMBERS).tolist() == [[0.5, 0.75, 0.75]]


def test_a_group_has_the_probability_of_all_outcomes_with_one_of_its_labels():
    logits = torch.randn(1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, members = torch.sigmoid(logits)[0].tolist(), MEMBERS.double()
    for group in range(3):
        own = [c for c in range(5) if MEMBERS[c, group]]
        outcomes = [o for o in itertools.product([0, 1], repeat=5) if any(o[c] for c in own)]
        exact = sum(math.prod(q[c] if o[c] else 1 - q[c] for c in range(5)) for o in outcomes)
        torch.testing.assert_close(float(any_of(logits, members)[0, group]), exact)


def test_a_certain_label_leaves_the_gradient_finite():
    logits = torch.tensor([[200.0, 0, -200.0, 200.0, 200.0]], requires_grad=True)
    found = any_of(logits, MEMBERS)
    found.sum().backward()
    assert bool(torch.isfinite(logits.grad).all())
    assert found.detach().tolist() == [[0, 1, 1]]
