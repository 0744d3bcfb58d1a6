"""Centres of classes against loops over documents, and documents on either side of a radius."""

import math

import pytest
import torch

from texthash.nn.class_centres import ClassCentres, euclidean_distances

LABELS = [[0], [0], [0], [1], [1, 2], [], [2], [0]]
BITS, CLASSES, MARGIN = 4, 4, 0.01  # the last class has no document
CODES = torch.randint(0, 2, (len(LABELS), BITS), generator=torch.Generator().manual_seed(3)).float()
HOT = torch.tensor([[float(c in own) for c in range(CLASSES)] for own in LABELS])


@pytest.fixture
def centres():
    pairs = torch.tensor([(row, c) for row, own in enumerate(LABELS) for c in own])
    made = ClassCentres(pairs[:, 0], pairs[:, 1], len(LABELS), CLASSES, BITS, spread=1.0)
    made.write(torch.arange(7), CODES[:7])  # the last document has not been seen
    made.fit(epoch=1)
    return made


def by_hand():
    centres, radii = [], []
    for c in range(CLASSES - 1):
        members = [row for row in range(7) if c in LABELS[row]]
        centre = [sum(float(CODES[row, k]) for row in members) / len(members) for k in range(BITS)]
        d = [math.dist(CODES[row].tolist(), centre) for row in members]
        mean = sum(d) / len(d)
        centres.append(centre)
        radii.append(mean + math.sqrt(sum((x - mean) ** 2 for x in d) / len(d)))
    return centres, radii


def test_centres_and_radii_are_those_of_the_documents_seen(centres):
    expected, radii = by_hand()
    torch.testing.assert_close(centres.centres[:3], torch.tensor(expected))
    torch.testing.assert_close(centres.radii[:3], torch.tensor(radii))
    assert bool(centres.radii[3].isnan())


def test_centres_stay_within_an_epoch(centres):
    before = centres.centres.clone()
    centres.write(torch.tensor([0]), 1 - CODES[:1])
    centres.fit(epoch=1)
    assert torch.equal(centres.centres, before)
    centres.fit(epoch=2)
    assert not torch.equal(centres.centres, before)


def test_the_loss_is_that_of_the_hard_documents(centres):
    expected, radii = by_hand()
    total, count = 0.0, 0
    codes = torch.rand(len(LABELS), BITS, generator=torch.Generator().manual_seed(1))
    for row, own in enumerate(LABELS):
        if not own:
            continue
        d = [math.dist(codes[row].tolist(), centre) for centre in expected]
        others = [c for c in range(3) if c not in own]
        nearest = min(d[c] for c in own)
        if all(d[c] > radii[c] for c in own):
            total, count = total + max(0.0, nearest - min(d[c] for c in others) + MARGIN), count + 1
        for c in others:
            if d[c] < radii[c]:
                total, count = total + max(0.0, nearest - d[c] + MARGIN), count + 1
    assert count > 4
    assert float(centres.loss(codes, HOT, MARGIN)) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("step", [-1e-3, 1e-3])
def test_a_document_becomes_hard_exactly_at_the_radius(centres, step):
    direction = torch.tensor([1.0, 0.0, 0.0, 0.0])
    code = (centres.centres[0] + (float(centres.radii[0]) + step) * direction)[None]
    within, _ = centres.hard(code, torch.tensor([[1.0, 0, 0, 0]]))
    _, between = centres.hard(code, torch.tensor([[0, 1.0, 0, 0]]))
    assert within.tolist() == [step > 0]
    assert between[:, 0].tolist() == [step < 0]


def test_nothing_is_hard_before_there_are_centres_or_without_labels(centres):
    fresh = ClassCentres(centres.rows, centres.classes, len(LABELS), CLASSES, BITS, spread=1.0)
    codes = CODES.clone().requires_grad_()
    assert float(fresh.loss(codes, HOT, MARGIN).detach()) == 0
    within, between = centres.hard(CODES, torch.zeros_like(HOT))
    assert not within.any()
    assert not between.any()


def test_gradients_are_finite_where_codes_are_equal(centres):
    codes = torch.cat([CODES, centres.centres[:3]]).requires_grad_()
    hot = torch.cat([HOT, torch.eye(CLASSES)[:3]])
    (centres.loss(codes, hot, MARGIN) + euclidean_distances(codes, codes).sum()).backward()
    assert bool(torch.isfinite(codes.grad).all())
