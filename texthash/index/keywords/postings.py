"""Postings in memory: the documents that contain each word, with later writes as further segments.

A posting takes 6 bytes: the row of its document and the occurrences of the word in it. Immutable: a write gives another
:class:`KeywordIndex`, which shares the segments that it did not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.index.filters.selection import Selection
from texthash.index.keywords.bm25 import KeywordStatistics, LengthNorm
from texthash.index.keywords.impacts import Impacts
from texthash.index.keywords.top import Postings, top_documents
from texthash.index.keywords.weights import WeightedWords, WordWeights

Numbers = NDArray[np.int64]
_MOST = np.iinfo(np.uint16).max
_BELOW = 1.0 - 1e-9  # Scores are rounded differently.


@dataclass(frozen=True)
class KeywordHits:
    """Best documents of one query, by (score descending, number).

    Attributes:
        numbers: Document numbers, int64.
        scores: BM25 score of each, float64.
    """

    numbers: Numbers
    scores: NDArray[np.float64]

    @classmethod
    def best(cls, parts: Sequence[KeywordHits], limit: int) -> tuple[KeywordHits, NDArray[np.int64]]:
        """Merge the hits of segments or shards.

        Returns:
            Best hits, and the place of each among all hits of ``parts``, one part after the other.
        """
        numbers = np.concatenate([part.numbers for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        order = np.lexsort((numbers, -scores))[:limit]
        return cls(numbers[order], scores[order]), order


@dataclass(frozen=True, eq=False)
class Segment:
    """Postings of some documents.

    Attributes:
        terms: Position of each word.
        starts: First posting of each word, int64 [T + 1].
        rows: Row of the document of each posting, int32, ascending for each word.
        counts: Occurrences of the word in it, by the weights of their places, uint16.
        lengths: Number of words of each document, by the same weights, int32 [N].
        boosts: Factor of the score of each document, float32 [N].
        numbers: Number of each document, int64 [N], ascending.
        live: Mask of documents that are not deleted, bool [N]; None means all of them.
        gone: Deleted documents that contain each word.
    """

    terms: Mapping[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]
    lengths: NDArray[np.int32]
    boosts: NDArray[np.float32]
    numbers: Numbers
    live: NDArray[np.bool_] | None = None
    gone: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, numbers: Numbers, words: pa.ListArray, weights: WordWeights | None = None) -> Segment:
        """Return the postings of documents, given the words of each."""
        return cls.read([(numbers, words)], weights)

    @classmethod
    def read(cls, batches: Iterable[tuple[Numbers, pa.ListArray]], weights: WordWeights | None = None) -> Segment:
        """Return the postings of documents that come in batches; words that are null count as none."""
        terms: dict[str, int] = {}
        numbers, lengths, ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        boosts = [np.empty(0, np.float32)]
        rows, counts = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        first = 0
        for some, words in batches:
            found = WeightedWords.of(words, weights)
            encoded = found.terms.dictionary_encode()
            own = [terms.setdefault(term, len(terms)) for term in encoded.dictionary.to_pylist()]
            numbers.append(some)
            lengths.append(found.lengths)
            boosts.append(found.boosts)
            ids.append(np.asarray(own, np.int32)[encoded.indices.to_numpy()] if own else ids[0])
            rows.append((first + found.rows).astype(np.int32))
            counts.append(found.occurrences)
            first += len(some)
        return _segment(
            terms,
            np.concatenate(ids),
            np.concatenate(rows),
            np.concatenate(counts),
            lengths=np.concatenate(lengths),
            boosts=np.concatenate(boosts),
            numbers=np.concatenate(numbers),
        )

    @classmethod
    def read_only(
        cls,
        batches: Iterable[tuple[Numbers, pa.ListArray]],
        terms: Sequence[str],
        weights: WordWeights | None = None,
    ) -> Segment:
        """Return the postings of these words alone; everything else is as of :meth:`read`."""
        wanted = pa.array(terms, pa.string())
        numbers, lengths, boosts = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        ids, rows, occurrences = ([np.empty(0, np.int64)] for _ in range(3))
        first = 0
        for some, words in batches:
            own = WeightedWords.of(words, weights)
            found = pc.index_in(own.terms, value_set=wanted)
            places = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
            ids.append(found.drop_null().to_numpy().astype(np.int64))
            rows.append(first + own.rows[places])
            occurrences.append(own.occurrences[places].astype(np.int64))
            numbers.append(some)
            lengths.append(own.lengths)
            boosts.append(own.boosts)
            first += len(some)
        every = np.concatenate(numbers)
        order = np.argsort(every, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        many = max(1, len(every))
        each = np.concatenate(ids) * many + place[np.concatenate(rows)]
        keys, inverse = np.unique(each, return_inverse=True)
        counts = np.bincount(inverse, np.concatenate(occurrences), minlength=len(keys))
        return cls.of_postings(
            {term: at for at, term in enumerate(terms)},
            np.searchsorted(keys, np.arange(len(terms) + 1) * many),
            (keys % many).astype(np.int32),
            np.minimum(counts, _MOST).astype(np.uint16),
            lengths=np.concatenate(lengths)[order].astype(np.int32),
            boosts=np.concatenate(boosts)[order],
            numbers=every[order],
        )

    @classmethod
    def of_postings(
        cls,
        terms: Mapping[str, int],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        counts: NDArray[np.uint16],
        *,
        lengths: NDArray[np.int32],
        boosts: NDArray[np.float32],
        numbers: Numbers,
    ) -> Segment:
        """Return the segment of postings in the order of their words; arguments are the attributes."""
        return cls(terms, starts, rows, counts, lengths, boosts, numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def documents(self) -> int:
        """Number of documents that are not deleted."""
        return len(self) if self.live is None else int(self.live.sum())

    @cached_property
    def words(self) -> int:
        """Number of words of the documents that are not deleted."""
        return int(self.lengths.sum() if self.live is None else self.lengths[self.live].sum())

    @property
    def size_bytes(self) -> int:
        """Memory of the arrays in bytes."""
        arrays = (self.starts, self.rows, self.counts, self.lengths, self.boosts, self.numbers)
        return sum(array.nbytes for array in arrays)

    def frequency(self, term: str) -> int:
        """Return the number of documents that contain a word."""
        at = self.terms.get(term)
        return 0 if at is None else int(self.starts[at + 1] - self.starts[at]) - self.gone.get(term, 0)

    def containing(self, terms: Iterable[str]) -> Numbers:
        """Return the numbers of the documents that contain one of some words, int64, ascending."""
        found = np.zeros(len(self), np.bool_)
        for at in (self.terms[term] for term in terms if term in self.terms):
            found[self.rows[self.starts[at] : self.starts[at + 1]]] = True
        return self.numbers[found if self.live is None else found & self.live]

    def without(self, numbers: Numbers, words: Sequence[Sequence[str]]) -> Segment:
        """Return the segment without those of some documents that it holds; ``words`` are the words of each."""
        if not len(self) or not len(numbers):
            return self
        rows = np.minimum(np.searchsorted(self.numbers, numbers), len(self) - 1)
        held = self.numbers[rows] == numbers
        if self.live is not None:
            held &= self.live[rows]
        if not held.any():
            return self
        live = np.ones(len(self), np.bool_) if self.live is None else self.live.copy()
        live[rows[held]] = False
        gone = Counter(self.gone)
        for row in np.flatnonzero(held).tolist():
            gone.update(set(words[row]))
        return replace(self, live=live, gone=gone)

    def best(
        self,
        terms: Sequence[str],
        weights: NDArray[np.float64],
        norm: LengthNorm,
        limit: int,
        allowed: Selection | None,
    ) -> KeywordHits:
        """Return the best documents for words with weights; ``allowed`` restricts them to some."""
        places = np.asarray([self.terms.get(term, -1) for term in terms], np.int64)
        known = places >= 0
        if not known.any():
            return KeywordHits(np.empty(0, np.int64), np.empty(0))
        at, own_weights, own = places[known], weights[known], self.impacts(norm)
        mask = np.empty(0, np.bool_) if self.live is None else self.live
        if allowed is not None:
            here = allowed.of(self.numbers, ascending=True)
            mask = here if self.live is None else here & self.live
        most = min(limit, len(self))
        bounds = own_weights * own.most(at)
        floor = 0.0 if allowed is not None else _BELOW * float((own_weights * own.reached(at, most)).max())
        scores, rows = top_documents(len(self))(
            self.starts[at],
            self.starts[at + 1],
            own_weights,
            bounds,
            np.argsort(bounds),
            own.postings,
            mask,
            most,
            floor,
        )
        order = np.lexsort((rows, -scores))  # rows are in the order of numbers
        return KeywordHits(self.numbers[rows[order]], scores[order])

    def impacts(self, norm: LengthNorm) -> Impacts:
        """Return the impacts of the words, which are kept while the mean length is the same."""
        known: Impacts | None = self.__dict__.get("_kept")
        if known is None or known.norm != norm:
            postings = Postings.of(norm, self.rows, self.counts, self.lengths, self.boosts)
            known = Impacts(norm, self.starts, postings, self.live)
            self.__dict__["_kept"] = known
        return known

    def joined(self, other: Segment) -> Segment:
        """Return a segment of the documents of both that are not deleted."""
        terms = dict(self.terms)
        renamed = np.asarray([terms.setdefault(term, len(terms)) for term in other.terms], np.int64)
        ids, rows, counts, lengths, boosts, numbers, first = [], [], [], [], [], [], 0
        for part, names in ((self, np.arange(len(self.terms))), (other, renamed)):
            live = np.ones(len(part), np.bool_) if part.live is None else part.live
            kept = live[part.rows]
            ids.append(np.repeat(names, np.diff(part.starts))[kept])
            rows.append((first + np.cumsum(live) - 1)[part.rows[kept]])
            counts.append(part.counts[kept])
            lengths.append(part.lengths[live])
            boosts.append(part.boosts[live])
            numbers.append(part.numbers[live])
            first += int(live.sum())
        return _segment(
            terms,
            *(np.concatenate(arrays) for arrays in (ids, rows, counts)),
            lengths=np.concatenate(lengths),
            boosts=np.concatenate(boosts),
            numbers=np.concatenate(numbers),
        )


def _segment(
    terms: Mapping[str, int],
    ids: NDArray[np.integer],
    rows: NDArray[np.integer],
    counts: NDArray[np.integer],
    *,
    lengths: NDArray[np.integer],
    boosts: NDArray[np.float32],
    numbers: Numbers,
) -> Segment:
    """Return the segment of postings in any order, of documents in any order."""
    order = np.argsort(numbers, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    from scipy.sparse import coo_matrix  # The import takes a fifth of a second, which a single search does not need.

    table = coo_matrix((counts.astype(np.int32), (place[rows], ids)), shape=(len(numbers), len(terms))).tocsc()
    table.sum_duplicates()
    return Segment.of_postings(
        terms,
        table.indptr.astype(np.int64),
        table.indices.astype(np.int32, copy=False),
        np.minimum(table.data, _MOST).astype(np.uint16),
        lengths=lengths[order].astype(np.int32),
        boosts=boosts[order],
        numbers=numbers[order],
    )


@dataclass(frozen=True, eq=False)
class KeywordIndex:
    """Postings of all documents of a shard.

    Attributes:
        segments: Segments, the oldest and largest first.
        weights: Weights of the parts of a document; None: all words count once.
    """

    segments: tuple[Segment, ...]
    weights: WordWeights | None = None

    @classmethod
    def read(
        cls,
        batches: Iterable[tuple[Numbers, pa.ListArray]],
        only: Sequence[str] | None = None,
        weights: WordWeights | None = None,
    ) -> KeywordIndex:
        """Return the postings of documents that come in batches of numbers and words.

        Args:
            batches: Numbers of documents, and the words of each.
            only: Distinct words whose postings are read; None reads those of all words.
            weights: Weights of the parts of a document, if the words have the form of
                :meth:`texthash.index.keywords.analysis.KeywordAnalyzer.documents`; None: all count once.
        """
        segment = Segment.read(batches, weights) if only is None else Segment.read_only(batches, only, weights)
        return cls((segment,), weights)

    @property
    def size_bytes(self) -> int:
        """Memory of the arrays in bytes."""
        return sum(segment.size_bytes for segment in self.segments)

    def changed(
        self, removed: Numbers, words: Sequence[Sequence[str]], added: Numbers, column: pa.ListArray
    ) -> KeywordIndex:
        """Return the index after a write.

        Args:
            removed: Numbers of the documents that were deleted or replaced.
            words: Words of each.
            added: Numbers of new documents, and of those that replace others.
            column: Words of each.
        """
        segments = [segment.without(removed, words) for segment in self.segments]
        if len(added):
            segments.append(Segment.of(added, column, self.weights))
        while len(segments) > 1 and segments[-2].documents <= 2 * segments[-1].documents:
            last = segments.pop()
            segments[-1] = segments[-1].joined(last)
        return KeywordIndex(tuple(segments), self.weights)

    def statistics(self, terms: Sequence[str]) -> KeywordStatistics:
        """Return the counts of documents and words, and of the documents that contain each of some words."""
        counts = [sum(segment.frequency(term) for segment in self.segments) for term in terms]
        return KeywordStatistics(
            sum(segment.documents for segment in self.segments),
            sum(segment.words for segment in self.segments),
            np.asarray(counts, np.int64),
        )

    def containing(self, terms: Sequence[str]) -> Numbers:
        """Return the numbers of the documents that contain one of some words, int64, ascending."""
        return np.sort(np.concatenate([segment.containing(terms) for segment in self.segments]))

    def search(
        self, query: Mapping[str, int], statistics: KeywordStatistics, limit: int, allowed: Selection | None = None
    ) -> KeywordHits:
        """Return the best documents of a query.

        Args:
            query: Words of the query with their numbers of occurrences.
            statistics: Counts over the whole index for these words.
            limit: Largest number of hits.
            allowed: Documents that may be hits; None allows all.
        """
        weights = statistics.idf * np.asarray(list(query.values()), np.float64)
        own = self.weights or WordWeights()
        norm = LengthNorm(statistics.mean_length, own.k1, own.b)
        parts = [segment.best(list(query), weights, norm, limit, allowed) for segment in self.segments]
        return parts[0] if len(parts) == 1 else KeywordHits.best(parts, limit)[0]
