"""HierHash finds two levels in documents that have two."""

import pytest
import torch

from texthash.corpora.prepared.batches import Batch
from texthash.corpora.prepared.corpus import CorpusShape
from texthash.methods.base import Progress
from texthash.methods.registry import build

COARSE, FINE, EACH, WORDS, LENGTH = 3, 3, 40, 20, 24


def two_levels():
    """Documents of 3 x 3 labels; half of a document's words are of its coarse label, half of its fine one."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(COARSE * FINE).repeat_interleave(EACH)
    of_coarse = (label // FINE)[:, None] * WORDS + torch.randint(
        0, WORDS, (len(label), LENGTH // 2), generator=generator
    )
    of_fine = (COARSE + label)[:, None] * WORDS + torch.randint(
        0, WORDS, (len(label), LENGTH // 2), generator=generator
    )
    counts = torch.zeros(len(label), (COARSE + COARSE * FINE) * WORDS)
    counts.scatter_(1, torch.cat([of_coarse, of_fine], dim=1), 1.0)
    return label, counts


def batch_of(counts, rows):
    document, indices = counts[rows].nonzero(as_tuple=True)
    lengths = torch.bincount(document, minlength=len(rows))
    values = lengths[document] ** -0.5
    return Batch(rows, indices, lengths.cumsum(0) - lengths, values, torch.ones(len(indices)))


@pytest.fixture(scope="module")
def fitted():
    label, counts = two_levels()
    method = build(
        "hierhash",
        CorpusShape(vocabulary=counts.shape[1], labels=0, documents=len(label)),
        16,
        {"hidden": 64, "coarse": COARSE, "fine": FINE, "kl_weight": 0.3},
    )
    optimizers, steps = method.optimizers(), 300
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        rows = torch.randperm(len(label), generator=generator)[:128]
        method.step(batch_of(counts, rows), Progress(step, steps, generator=generator), optimizers)
    with torch.no_grad():
        codes = method.eval().activations(batch_of(counts, torch.arange(len(label))))
    return method, label, codes


def test_codes_are_nearer_the_more_labels_they_share(fitted):
    _, label, codes = fitted
    bits = (codes > codes.median(dim=0).values).float()
    distance = torch.cdist(bits, bits, p=1)
    same_fine = label[:, None] == label
    same_coarse = (label[:, None] // FINE == label // FINE) & ~same_fine
    other = label[:, None] // FINE != label // FINE
    same_fine.fill_diagonal_(False)
    means = [float(distance[which].mean()) for which in (same_fine, same_coarse, other)]
    assert means[0] + 1 < means[1]
    assert means[1] + 1 < means[2]


def test_fine_prototypes_are_nearer_to_those_of_their_own_parent(fitted):
    method, _, _ = fitted
    fine = method.prototypes.fine.detach()
    distance = torch.cdist(fine.flatten(0, 1), fine.flatten(0, 1))
    parent = torch.arange(COARSE).repeat_interleave(FINE)
    siblings = (parent[:, None] == parent) & ~torch.eye(len(parent), dtype=torch.bool)
    assert distance[siblings].mean() < 0.8 * distance[parent[:, None] != parent].mean()
