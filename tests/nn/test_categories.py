"""Codes that tell labels: values against numpy, documents without labels, the weight that rises."""

import numpy as np
import pytest
import torch

from texthash.errors import TexthashError
from texthash.nn.categories import LabelHead

CODES = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
LABELLED = torch.tensor([True, False, True])


def logits(head):
    with torch.no_grad():
        return (CODES @ head.map.weight.T + head.map.bias).numpy().astype(float)


def test_single_labels_by_softmax_over_the_labelled_documents():
    head = LabelHead(3, 2, multi_label=False)
    scores = logits(head)
    each = -np.log((np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))[[0, 1, 2], [0, 1, 1]])
    assert float(head.loss(CODES, LABELS, LABELLED).detach()) == pytest.approx((each[0] + each[2]) / 2, rel=1e-5)


def test_several_labels_by_a_sigmoid_each():
    head = LabelHead(3, 2, multi_label=True)
    p = 1 / (1 + np.exp(-logits(head)))
    y = LABELS.numpy()
    each = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    assert float(head.loss(CODES, LABELS, LABELLED).detach()) == pytest.approx((each[0] + each[2]) / 2, rel=1e-5)


def test_a_batch_without_labels_costs_nothing():
    head = LabelHead(3, 2, multi_label=False)
    loss = head.loss(CODES, LABELS, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert head.map.weight.grad is not None
    assert not head.map.weight.grad.any()


def test_parts_of_a_batch_divided_by_their_mean_count_have_the_mean_of_the_whole():
    head = LabelHead(3, 2, multi_label=False)
    whole = head.loss(CODES, LABELS, LABELLED)
    parts = [head.loss(CODES[k], LABELS[k], LABELLED[k], torch.tensor(2 / 3)) for k in ([0], [1], [2])]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


@pytest.mark.parametrize(("fraction", "weight"), [(0.0, 0.0), (0.05, 75.0), (0.1, 150.0), (0.7, 150.0)])
def test_the_weight_rises_over_its_share_of_training_and_stays(fraction, weight):
    assert LabelHead(3, 2, multi_label=False, weight=150.0, ramp=0.1).weight_at(fraction) == pytest.approx(weight)


def test_a_corpus_without_labels_is_refused():
    with pytest.raises(TexthashError, match="two of them or more, and was given 0"):
        LabelHead(3, 0, multi_label=False)
