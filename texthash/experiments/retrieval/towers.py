"""Rows of a model with two towers by their real-valued vectors, of which the codes are to keep what they can.

towers        cosine of e_q and e_d, of all documents
rescored      the nearest documents by Hamming distance, in the order of that cosine: the two stages of DSHC and CoSHC
by category   as many candidates, of which each category has a quota, as the question makes it likely (CoSHC)

Candidates of equal distance are in the order of their numbers, and documents that are no candidates are not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from texthash.corpora.prepared.batches import text_batch
from texthash.evaluation.retrieval.ranked import Ranked
from texthash.evaluation.retrieval.table import Row
from texthash.experiments.retrieval.rows import ModelRows, cosine_lists
from texthash.hamming import kernels
from texthash.methods.base import Role
from texthash.methods.coshc import CoSHC
from texthash.methods.towers import TwoTowers
from texthash.models.encoding import device_of
from texthash.models.vectors import unit

CANDIDATES = 100  # N of the paper of CoSHC
_BATCH = 1024


def tower_rows(of: ModelRows, candidates: int = CANDIDATES) -> list[Row]:
    """Return the rows of the towers of a model, and of candidates that its codes find; none for another method.

    Args:
        of: Rows of the model.
        candidates: Number N of candidates of a query.
    """
    method = of.model.method
    if not isinstance(method, TwoTowers):
        return []
    found = _Towers(of, method, candidates)
    floats, size = 4.0 * method.width, of.model.bits / 8
    rows = [
        Row(f"{of.name} towers", found.cosines, "cosine of the towers", floats),
        Row(
            f"{of.name} rescored",
            found.rescored,
            f"the nearest {candidates} codes, by the cosine of the towers",
            size + floats,
        ),
    ]
    if isinstance(method, CoSHC):
        how = f"{candidates} candidates with a quota for each of {method.categories} categories, by the same cosine"
        rows.append(Row(f"{of.name} by category", found.by_category, how, size + floats + 1))
    return rows


class _Towers:
    """Lists of one model by the vectors of its towers, which are computed when the first row is searched."""

    def __init__(self, of: ModelRows, method: TwoTowers, candidates: int) -> None:
        self._of, self._method, self._candidates = of, method, candidates
        self._last: tuple[list[str], NDArray[np.float32]] | None = None

    def cosines(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists of all documents."""
        known, asked = self._of.asked(queries).known, unit(self._asked(queries))
        lists = cosine_lists(asked, self._units, self._of.documents.numbers)
        for ranked, is_known in zip(lists, known, strict=True):
            yield ranked if is_known else Ranked.nothing()

    def rescored(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists of the nearest codes."""
        return self._among(queries, lambda _, near: near[: self._candidates])

    def by_category(self, queries: Sequence[str]) -> Iterator[Ranked]:
        """Yield lists of the nearest codes of each category, as many as its quota."""
        method = self._method
        assert isinstance(method, CoSHC)
        total = max(self._candidates, method.categories)
        quotas = method.quotas(torch.from_numpy(self._asked(queries)), total)
        categories = method.category(torch.from_numpy(self._documents)).numpy()

        def chosen(query: int, near: NDArray[np.int64]) -> NDArray[np.int64]:
            own = categories[near]
            return np.concatenate([near[own == one][:quota] for one, quota in enumerate(quotas[query].tolist())])

        return self._among(queries, chosen)

    def _among(
        self, queries: Sequence[str], chosen: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]
    ) -> Iterator[Ranked]:
        """Yield lists of chosen rows of the documents, of a query and all rows by distance."""
        documents, asked = self._of.documents, self._of.asked(queries)
        questions, vectors = unit(self._asked(queries)), self._units
        for query, code in enumerate(self._of.model.binarize(asked.values)):
            if not asked.known[query]:
                yield Ranked.nothing()
                continue
            near = np.argsort(kernels.distances(code[None], documents.codes)[0], kind="stable")
            rows = chosen(query, near)
            yield Ranked(documents.numbers[rows], vectors[rows] @ questions[query])

    @cached_property
    def _documents(self) -> NDArray[np.float32]:
        return self._vectors(self._of.documents.texts, "document", self._of.documents.vectors)

    @cached_property
    def _units(self) -> NDArray[np.float32]:
        return unit(self._documents)

    def _asked(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return e of the queries; those of the last call are kept."""
        texts = list(queries)
        if self._last is None or self._last[0] != texts:
            self._last = texts, self._vectors(texts, "query", self._of.asked(texts).vectors)
        return self._last[1]

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[str], role: Role, features: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return e of texts, float32 [N, width]."""
        model, method = self._of.model, self._method.eval()
        parts = []
        for start in range(0, len(texts), _BATCH):
            some = slice(start, start + _BATCH)
            own = None if features is None else features[some]
            batch = text_batch(texts[some], model.analyzer, model.vocabulary, method.encoding_inputs, own)
            parts.append(method.encoded(batch.to(device_of(method)), role).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, method.width), np.float32)
