"""Labels in a tree."""

from __future__ import annotations

import pytest

from texthash.corpora.label_tree import LabelTree
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.errors import CorpusError

PARENTS = {"comp.graphics": "comp", "comp.os": "comp", "rec.autos": "rec", "comp": "all", "rec": "all"}
LABELS = ["comp.graphics", "comp.os", "rec.autos", "rec", "misc"]


def test_categories_that_no_document_bears_come_after_the_labels() -> None:
    tree = LabelTree.of(LABELS, PARENTS)
    assert tree.names == [*LABELS, "all", "comp"]
    assert tree.parents.tolist() == [6, 6, 3, 5, -1, -1, 5]
    assert tree.depth.tolist() == [2, 2, 2, 1, 0, 0, 1]


def test_a_cycle_is_refused() -> None:
    with pytest.raises(CorpusError, match="cycle"):
        LabelTree.of(["a", "b"], {"a": "b", "b": "a"})


def test_a_corpus_without_a_tree_is_flat(small_corpus: PreparedCorpus) -> None:
    tree = small_corpus.train.label_tree
    assert tree.names == small_corpus.label_names
    assert (tree.parents == -1).all()
