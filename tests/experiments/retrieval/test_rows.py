"""Rows that are made of other rows."""

from __future__ import annotations

import numpy as np
import pytest

from texthash.evaluation.retrieval.ranked import Ranked
from texthash.evaluation.retrieval.table import Row
from texthash.experiments.retrieval.rows import fused_row
from texthash.index.fusion import Fusion


def row(name, size, *lists):
    ranked = [Ranked(np.array(list(of), np.int64), np.array(list(of.values()), np.float64)) for of in lists]
    return Row(name, lambda queries: ranked, bytes_per_document=size)


def test_a_fused_row_adds_the_gains_of_the_first_documents_of_both():
    semantic = row("codes", 16, {7: 3.0, 3: 2.0, 5: 1.0}, {})
    keyword = row("bm25", 100, {5: 9.0, 8: 4.0, 2: 4.0}, {4: 1.0})
    fused = fused_row(semantic, keyword, Fusion(0.25), depth=2)
    first, second = fused.search(["one", "other"])
    assert dict(zip(first.documents.tolist(), first.scores.tolist(), strict=True)) == pytest.approx(
        {7: 0.25, 3: 0.25 * 2 / 3, 5: 0.75, 2: 0.75 * 4 / 9}  # of equal scores the lower number comes first
    )
    assert second.documents.tolist() == [4]
    assert (fused.name, fused.bytes_per_document) == ("codes + bm25", 116)
