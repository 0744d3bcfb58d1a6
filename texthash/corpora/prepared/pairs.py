"""Questions of a pair corpus as a split of their own, for training, encoding and evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus, Split
from texthash.corpora.prepared.csr_cache import load_arrays, make_once
from texthash.errors import CorpusError
from texthash.io.atomic import read_parquet, readable
from texthash.io.ragged import from_arrow, indptr_of, take_rows

_DIGEST = 16  # bytes, enough for different questions never to collide


class Queries(Split):
    """Questions of the documents of one split: a row for each document and each question that it answers.

    Rows are in the order of the documents. A question that several documents answer has a row for each, with the same
    number (:func:`question_numbers`). It can be used like any split (``batches.take``, ``Hasher.encode_split``); words
    are those of the corpus' vocabulary, which is learned from the text of training *documents* alone.

    Args:
        answers: Split of the documents.

    Raises:
        CorpusError: The corpus is not a pair corpus.
    """

    def __init__(self, answers: Split) -> None:
        super().__init__(answers.name, answers._corpus)
        self.answers = answers
        pairs = self._corpus.manifest.pairs
        if answers.name not in pairs:
            raise CorpusError(
                f"{answers!r} has no queries: the corpus is not a pair corpus.",
                "choose a pair corpus such as pycode, or give documents `queries`.",
            )
        self.name = f"{answers.name}-queries"
        self._size = pairs[answers.name].queries

    def __len__(self) -> int:
        return self._size

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Row of the first question of each document; int64 [documents + 1]."""
        return self._arrays["answers_indptr"]

    @cached_property
    def documents_of_rows(self) -> NDArray[np.int64]:
        """Row of the document of each question; int64 [questions]."""
        return np.repeat(np.arange(len(self.answers)), np.diff(self.indptr))

    @property
    def digests(self) -> NDArray[np.void]:
        """Fingerprint of the text of each question, 16 bytes."""
        return self._arrays["digests"].view(f"V{_DIGEST}")[:, 0]

    @property
    def given_negatives(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [documents + 1] and train rows of the given negatives of each document's questions.

        Ids that name no training document are left out. Only the questions of train have negatives.
        """
        return self._arrays["negatives_indptr"], self._arrays["negatives"]

    def negatives_among(self, splits: Sequence[Split]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the given negatives of each document's questions, by their numbers in the documents of ``splits``.

        Ids that name none of these documents are left out.

        Returns:
            ``indptr`` int64 [documents + 1], and numbers in the concatenated splits, int32 [negatives].
        """
        shards = [shard for split in splits for shard in split.shards]
        found, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for part in self._parts(["negatives"]):
            indptr, names = from_arrow(part["negatives"])
            rows = _rows_of(names, shards) if len(names) else np.empty(0, np.int32)
            known = rows >= 0
            lengths.append(np.diff(np.concatenate([[0], np.cumsum(known)])[indptr]))
            found.append(rows[known])
        return indptr_of(np.concatenate(lengths)), np.concatenate(found)

    @cached_property
    def ids(self) -> list[str]:
        """Id of the document, ``?`` and the number of its question."""
        numbers = np.arange(len(self)) - np.repeat(self.indptr[:-1], np.diff(self.indptr))
        ids = self.answers.ids
        return [f"{ids[row]}?{number}" for row, number in zip(self.documents_of_rows, numbers, strict=True)]

    @property
    def label_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` and label numbers of the document of each question."""
        indptr, indices = self.answers.label_ids
        part, entries = take_rows(indptr, self.documents_of_rows)
        return part, indices[entries]

    def documents(self, batch: int = 1024) -> Iterator[pa.Table]:
        """Yield tables of ``text`` (the question) and the ``id``, ``title`` and ``labels`` of its document."""
        names = ["id", "queries", "title", "labels"]
        for part in self._parts(names, batch):
            indptr, texts = from_arrow(part["queries"])
            rows = pa.array(np.repeat(np.arange(len(part)), np.diff(indptr)))
            table = part.drop_columns(["queries"]).take(rows)
            yield table.add_column(1, "text", pa.array(texts, pa.string()))

    @cached_property
    def _arrays(self) -> dict[str, NDArray]:
        directory = make_once(self.cache / f"{self.answers.name}-queries", partial(_fill, self))
        return load_arrays(directory)

    @property
    def shards(self) -> list[Path]:
        return self.answers.shards

    def _parts(self, columns: list[str], batch: int = 8192) -> Iterator[pa.Table]:
        for shard in self.shards:
            for part in read_parquet(shard, columns, batch):
                yield pa.Table.from_batches([part])

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "answers": self.answers, "_size": self._size}


def question_numbers(corpus: PreparedCorpus) -> dict[str, NDArray[np.int64]]:
    """Number the questions of each split, int64 [questions]; equal texts have the same number in all splits."""
    splits = [Queries(corpus.split(name)) for name in SPLITS]
    _, numbers = np.unique(np.concatenate([queries.digests for queries in splits]), return_inverse=True)
    return dict(zip(SPLITS, np.split(numbers, np.cumsum([len(queries) for queries in splits])[:-1]), strict=True))


def _fill(queries: Queries, partial: Path) -> None:
    """Write the arrays of :class:`Queries`. Memory: the words of all questions of the split."""
    sizes, lengths, tokens, digests = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int32)], [b""]
    for part in queries._parts(["queries", "query_tokens"]):
        indptr, texts = from_arrow(part["queries"])
        sizes.append(np.diff(indptr))
        inner, words = from_arrow(part["query_tokens"].combine_chunks().flatten())
        lengths.append(np.diff(inner))
        tokens.append(words)
        digests += (hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest() for text in texts)
    answers_indptr = indptr_of(np.concatenate(sizes))
    tokens_indptr, flat = indptr_of(np.concatenate(lengths)), np.concatenate(tokens)
    if answers_indptr[-1] != len(queries) or len(answers_indptr) != len(queries.answers) + 1:
        raise CorpusError(
            f"the shards of {queries.answers!r} hold {answers_indptr[-1]} queries, the manifest says {len(queries)}.",
            "the corpus is damaged: delete its directory and prepare it again.",
        )
    from scipy.sparse import csr_matrix

    bags = csr_matrix(
        (np.ones(len(flat), np.int32), flat, tokens_indptr), (len(queries), len(queries.vocabulary)), copy=True
    )
    bags.sum_duplicates()  # sorts in place; the copy above preserves the order of tokens
    train = [queries.answers] if queries.answers.name == "train" else []
    negatives_indptr, negatives = queries.negatives_among(train)
    arrays = {
        "answers_indptr": answers_indptr,
        "tokens_indptr": tokens_indptr,
        "tokens": flat,
        "words_indptr": bags.indptr.astype(np.int64),
        "words": bags.indices.astype(np.int32),
        "counts": bags.data,
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST),
        "negatives_indptr": negatives_indptr,
        "negatives": negatives,
    }
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array)


def _rows_of(ids: NDArray, shards: list[Path]) -> NDArray[np.int32]:
    """Return the rows of documents in the shards, -1 for an unknown id; no table of all ids is held in memory."""
    rows, first = np.full(len(ids), -1, np.int32), 0
    for shard in shards:
        present = pq.read_table(readable(shard), columns=["id"])["id"].combine_chunks()
        positions = pc.index_in(pa.array(ids, pa.string()), present).fill_null(-1).to_numpy()
        rows = np.where(positions >= 0, first + positions, rows).astype(np.int32)
        first += len(present)
    return rows
