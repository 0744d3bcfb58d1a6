"""Splits of which only some documents have their labels."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from texthash.config import TrainingConfig
from texthash.corpora.prepared.batches import batches
from texthash.corpora.prepared.inputs import Inputs
from texthash.corpora.prepared.labelled import partly_labelled
from texthash.methods.registry import build
from texthash.training.loop import fit


def labels_of(split):
    indptr, indices = split.label_ids
    return [tuple(indices[a:b]) for a, b in pairwise(indptr)]


def test_a_share_keeps_its_labels_and_the_others_have_none(small_corpus):
    split = partly_labelled(small_corpus.train, 0.3, seed=1)
    whole, part = labels_of(small_corpus.train), labels_of(split)
    kept = np.array([bool(labels) for labels in part])
    assert 0.24 < kept.mean() < 0.36
    assert all(labels == (whole[row] if kept[row] else ()) for row, labels in enumerate(part))
    assert labels_of(pickle.loads(pickle.dumps(split))) == part
    assert labels_of(partly_labelled(small_corpus.train, 0.3, seed=1)) == part
    assert labels_of(partly_labelled(small_corpus.train, 0.3, seed=2)) != part
    assert partly_labelled(small_corpus.train, 1.0, seed=1) is small_corpus.train


def test_batches_mark_who_is_labelled(small_corpus):
    split = partly_labelled(small_corpus.train, 0.5, seed=1)
    known = torch.tensor([bool(labels) for labels in labels_of(split)])
    for batch in batches(split, 64, Inputs(needs={"labels"}), shuffle_seed=0):
        assert torch.equal(batch.labelled, known[batch.rows])
        assert torch.equal(batch.labels.sum(dim=1) > 0, batch.labelled)


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_training_shows_a_method_the_labels_of_that_share(small_corpus, share):
    method, seen = build("vdsh_s", small_corpus.shape, 16, {"hidden": 32}), {}
    told = method.label_term

    def note(codes, batch, progress):
        seen.update(zip(batch.rows.tolist(), batch.labelled.tolist(), strict=True))
        return told(codes, batch, progress)

    method.label_term = note
    result = fit(method, small_corpus.train, TrainingConfig(epochs=2, batch_size=64, labelled=share, seed=4))
    expected = [bool(labels) for labels in labels_of(partly_labelled(small_corpus.train, share, seed=4))]
    assert [seen[row] for row in range(len(small_corpus.train))] == expected
    assert result.history[-1].terms["labels"] > 0
