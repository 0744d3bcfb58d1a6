"""Losses of scores, against loops over questions and passages."""

import math

import pytest
import torch

from texthash.nn.passages import in_batch_hinge, in_batch_softmax, triplet_hinge


@pytest.fixture
def case():
    torch.manual_seed(0)
    scores = torch.randn(4, 7, dtype=torch.float64)
    answers = torch.zeros(4, 7, dtype=torch.bool)
    answers[range(4), range(4)] = True
    answers[0, 5] = answers[2, 1] = True  # a hard negative of another question answers this one; one passage two
    return scores, answers


def test_softmax_is_over_the_passage_of_a_question_and_all_that_do_not_answer_it(case):
    scores, answers = case
    expected = []
    for i in range(4):
        others = [j for j in range(7) if not answers[i, j]]
        expected.append(-math.log(math.exp(scores[i, i]) / sum(math.exp(scores[i, j]) for j in [i, *others])))
    assert float(in_batch_softmax(scores, answers)) == pytest.approx(sum(expected) / 4)


@pytest.mark.parametrize("margin", [0.0, 0.7, 5.0])
def test_hinge_is_the_mean_over_all_passages_that_do_not_answer(case, margin):
    scores, answers = case
    terms = [
        max(0.0, margin - float(scores[i, i]) + float(scores[i, j]))
        for i in range(4)
        for j in range(7)
        if not answers[i, j]
    ]
    assert len(terms) == 22
    assert float(in_batch_hinge(scores, answers, margin)) == pytest.approx(sum(terms) / len(terms))


def test_the_own_passage_counts_whether_or_not_it_is_marked(case):
    scores, answers = case
    unmarked = answers.clone()
    unmarked.diagonal().fill_(False)
    assert in_batch_softmax(scores, unmarked) == in_batch_softmax(scores, answers)
    assert in_batch_hinge(scores, unmarked, 1.0) == in_batch_hinge(scores, answers, 1.0)


def test_without_a_wrong_passage_there_is_nothing_to_learn_and_no_number_is_missing():
    scores = torch.randn(3, 3, requires_grad=True)
    everything = torch.ones(3, 3, dtype=torch.bool)
    total = in_batch_softmax(scores, everything) + in_batch_hinge(scores, everything, 1.0)
    total.backward()
    assert total.item() == 0
    assert scores.grad.isfinite().all()


def test_triplets():
    right, wrong = torch.tensor([1.0, 0.2, 0.5]), torch.tensor([0.0, 0.5, 0.45])
    assert float(triplet_hinge(right, wrong, 0.1)) == pytest.approx((0 + 0.4 + 0.05) / 3)
