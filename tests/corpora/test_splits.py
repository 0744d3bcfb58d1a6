"""What is said where a split has no document."""

import numpy as np
import pytest

from texthash.config import SplitRule
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.splits import NONE, TRAIN, assign
from texthash.errors import CorpusError


@pytest.mark.parametrize("kind", ["random", "given", "halve_test"])
@pytest.mark.parametrize("documents", [1, 2, 3])
def test_too_few_documents_for_a_random_split_are_not_sent_to_one(documents, kind):
    with pytest.raises(CorpusError) as error:
        assign(np.full(documents, TRAIN, np.int8), SplitRule(kind=kind))
    assert "kind=" not in error.value.remedy
    assert "needs 4 documents or more" in error.value.remedy


@pytest.mark.parametrize(("train", "validation"), [(0.6, 0.2), (0.5, 0.25), (0.9, 0.05), (0.05, 0.9), (0.98, 0.01)])
def test_the_number_that_is_named_is_the_smallest_that_does(train, validation):
    rule = SplitRule(kind="random", train=train, validation=validation)
    with pytest.raises(CorpusError) as error:
        assign(np.full(1, NONE, np.int8), rule)
    fewest = int(error.value.remedy.split("needs ")[1].split()[0])
    assert set(assign(np.full(fewest, NONE, np.int8), rule)) == set(range(len(SPLITS)))
    with pytest.raises(CorpusError):
        assign(np.full(fewest - 1, NONE, np.int8), rule)


def test_where_a_random_split_would_do_it_is_named():
    with pytest.raises(CorpusError, match="kind=halve_test, which takes half of test, or kind=random"):
        assign(np.array([0, 0, 0, 2, 2], np.int8), SplitRule(kind="given"))
    with pytest.raises(CorpusError, match=r"use corpus\.edition\.split\.kind=random"):
        assign(np.zeros(5, np.int8), SplitRule(kind="given"))
