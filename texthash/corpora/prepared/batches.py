"""Minibatches of documents as sparse bags of words for ``torch.nn.functional.embedding_bag``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texthash.config import Weighting
from texthash.corpora.prepared.corpus import Split
from texthash.corpora.prepared.inputs import BAG_OF_WORDS, NEEDS, OF_TEXT, Inputs
from texthash.corpora.prepared.pairs import Queries
from texthash.corpora.prepared.weighting import weigh
from texthash.corpora.words import Analyzer, Vocabulary
from texthash.errors import CorpusError, UsageError
from texthash.io.ragged import indptr_of, take_rows

# A last batch smaller than this is joined to the one before it, so that no worker is idle and no batch statistic rests
# on one document.
SMALLEST_BATCH = 16
NEGATIVES = 20  # hard negatives of each question, of which an epoch draws one


@dataclass(frozen=True)
class Batch:
    """B documents. The word numbers of all documents are concatenated, as ``embedding_bag`` expects them.

    Attributes:
        rows: Row of each document in its split, int64 [B].
        indices: Word numbers, sorted within a document, int64 [words].
        offsets: Start of each document in ``indices``, int64 [B] (no last offset).
        values: Weight of each word, float32 [words].
        counts: Count of each word in its document, float32 [words].
        tokens: Word numbers in the order of the text, int64 [B, T], padded with 0; None unless needed.
        mask: Whether an entry of ``tokens`` is a word, bool [B, T].
        dense: Vectors of corpus.features, float32 [B, D]; None unless needed.
        token_vectors: Vectors of the word pieces in the order of the text, padded with 0: float32 [B, T, D] of raw
            texts, float16 [B, T, d], d <= 64, of documents of a corpus, which are stored reduced; None unless needed.
        token_mask: Whether an entry of ``token_vectors`` is a word piece, bool [B, T].
        neighbours: Train rows of the nearest training documents, int64 [B, k]; None unless needed.
        neighbour_weights: Similarities of the neighbours, best first, float32 [B, k].
        labels: 1 where a document has the label, float32 [B, labels]; None unless needed.
        labelled: Whether a document has any label, bool [B].
        query: Question that each document answers (one of several by the epoch's seed), in a pair corpus.
        positive: The documents themselves, in a pair corpus.
        negative: Hard negative of each question (one of several by the epoch's seed), in a pair corpus.
    """

    rows: Tensor
    indices: Tensor
    offsets: Tensor
    values: Tensor
    counts: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    dense: Tensor | None = None
    token_vectors: Tensor | None = None
    token_mask: Tensor | None = None
    neighbours: Tensor | None = None
    neighbour_weights: Tensor | None = None
    labels: Tensor | None = None
    labelled: Tensor | None = None
    query: Batch | None = None
    positive: Batch | None = None
    negative: Batch | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def document(self) -> Tensor:
        """Number of the document, 0..B-1, of each entry of ``indices``; int64 [words]."""
        ends = torch.cat([self.offsets[1:], self.offsets.new_tensor([len(self.indices)])])
        return torch.repeat_interleave(torch.arange(len(self), device=self.rows.device), ends - self.offsets)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        moved = {f.name: value.to(device) for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return replace(self, **moved)


def batches(
    split: Split,
    batch_size: int,
    inputs: Inputs = BAG_OF_WORDS,
    shuffle_seed: int | None = None,
    rank: int = 0,
    workers: int = 1,
) -> Iterator[Batch]:
    """Yield one worker's part of each global batch of an epoch.

    The order of documents depends on ``shuffle_seed`` alone, and each global batch is divided into equal contiguous
    parts, one per worker: N workers together see exactly the batches of a single worker, except for the
    ``batch size mod N`` documents at the end of a batch, since means over workers require parts of equal size.

    With the need ``pairs`` only documents that answer a question are drawn. The question, and its hard negative, are
    drawn with the order; in reading order they are the first ones. A question without a hard negative gets any other
    document.

    Args:
        split: Split that contains the documents.
        batch_size: Documents in a global batch, over all workers.
        inputs: Content of a batch.
        shuffle_seed: Seed of the order; None keeps reading order.
        rank: Number of this worker.
        workers: Number of workers.

    Raises:
        CorpusError: The corpus lacks a needed input.
        UsageError: A need is unknown, or a batch has fewer documents than there are workers.
    """
    inputs.check(set(NEEDS))
    drawn = _drawn(split, inputs)
    _check_workers(split, len(drawn), batch_size, rank, workers)
    nearest = split.neighbours(inputs.neighbours, inputs.graph) if "neighbours" in inputs.needs else None
    if shuffle_seed is not None:
        drawn = np.random.default_rng(shuffle_seed).permutation(drawn)
    sides = asked = None
    if "pairs" in inputs.needs:
        from texthash.corpora.prepared.negatives import Sides  # which compiles kernels, for training alone

        sides, asked = Sides(split, NEGATIVES, shuffle_seed), Queries(split)
    side_inputs = inputs.only(OF_TEXT)
    bounds = _bounds(len(drawn), batch_size)
    for start, end in pairwise(bounds):
        size = (end - start) // workers
        rows = drawn[start + size * rank : start + size * (rank + 1)]
        batch = _take(split, rows, inputs, nearest)
        if sides is not None and asked is not None:
            questions, negatives = sides.of(rows)
            query, negative = _take(asked, questions, side_inputs), _take(split, negatives, side_inputs)
            batch = replace(batch, query=query, positive=batch, negative=negative)
        yield batch


def count_batches(split: Split, batch_size: int, inputs: Inputs = BAG_OF_WORDS, workers: int = 1) -> int:
    """Return the number of batches in an epoch of :func:`batches`, which is equal for all workers."""
    drawn = len(_drawn(split, inputs))
    _check_workers(split, drawn, batch_size, 0, workers)
    return len(_bounds(drawn, batch_size)) - 1


def take(split: Split, rows: NDArray, inputs: Inputs = BAG_OF_WORDS) -> Batch:
    """Return the documents of chosen rows, such as the neighbours of others, as one batch.

    The needs may be those of :data:`OF_TEXT`, and ``labels``.
    """
    inputs.check(OF_TEXT | {"labels"})
    return _take(split, np.asarray(rows, np.int64), inputs)


def text_batch(
    texts: Sequence[str],
    analyzer: Analyzer,
    vocabulary: Vocabulary,
    inputs: Inputs = BAG_OF_WORDS,
    features: NDArray[np.float32] | None = None,
) -> Batch:
    """Return a batch of raw texts; ``rows`` numbers them from 0. Unknown words are left out.

    The needs may be those of :data:`OF_TEXT`. For ``dense`` the vectors are ``features``, float32 [N, D]; without them
    the source of the inputs encodes the texts, and is loaded for it.
    """
    inputs.check(OF_TEXT)
    sequences = [vocabulary.sequence(analyzer.tokens(text)) for text in texts]
    bags = [np.unique(sequence, return_counts=True) for sequence in sequences]
    indptr = indptr_of([len(ids) for ids, _ in bags])
    batch = _bag(
        np.arange(len(texts)),
        indptr,
        np.concatenate([ids for ids, _ in bags]) if bags else np.empty(0, np.int32),
        np.concatenate([counts for _, counts in bags]) if bags else np.empty(0, np.int32),
        inputs.weighting,
        vocabulary,
    )
    if "dense" in inputs.needs and inputs.encoder:
        if features is None:
            from texthash.corpora.prepared.embeddings.sources import open_embedder

            features = open_embedder(inputs.encoder).encode(texts)
        batch = replace(batch, dense=torch.from_numpy(features))
    if "token_vectors" in inputs.needs and inputs.encoder:
        from texthash.corpora.prepared.embeddings.token_vectors import open_token_embedder

        parts = open_token_embedder(inputs.encoder).token_vectors(texts)
        indptr = indptr_of([len(part) for part in parts])
        vectors, mask = _padded_rows(indptr, np.concatenate(parts) if parts else np.empty((0, 1)), inputs.max_length)
        batch = replace(batch, token_vectors=vectors, token_mask=mask)
    if "tokens" not in inputs.needs:
        return batch
    tokens, mask = _padded(indptr_of([len(s) for s in sequences]), np.concatenate([*sequences, []]), inputs.max_length)
    return replace(batch, tokens=tokens, mask=mask)


def _drawn(split: Split, inputs: Inputs) -> NDArray[np.int64]:
    """Return the rows of an epoch, in reading order."""
    return np.flatnonzero(np.diff(Queries(split).indptr)) if "pairs" in inputs.needs else np.arange(len(split))


def _take(
    split: Split, rows: NDArray[np.int64], inputs: Inputs, nearest: tuple[NDArray, NDArray] | None = None
) -> Batch:
    indptr, indices, counts = split.counts
    part, entries = take_rows(indptr, rows)
    batch = _bag(rows, part, indices[entries], counts[entries], inputs.weighting, split.vocabulary)
    if "tokens" in inputs.needs:
        token_indptr, tokens = split.tokens
        token_part, token_entries = take_rows(token_indptr, rows)
        padded, mask = _padded(token_part, tokens[token_entries], inputs.max_length)
        batch = replace(batch, tokens=padded, mask=mask)
    if "dense" in inputs.needs and inputs.encoder:
        batch = replace(batch, dense=torch.from_numpy(split.dense(inputs.encoder)[rows]))
    if "token_vectors" in inputs.needs and inputs.encoder:
        stored = split.token_vectors(inputs.encoder)
        piece_part, pieces = take_rows(stored.indptr, rows)
        vectors, piece_mask = _padded_rows(piece_part, stored.values[pieces], inputs.max_length)
        batch = replace(batch, token_vectors=vectors, token_mask=piece_mask)
    if "labels" in inputs.needs:
        label_indptr, label_ids = split.label_ids
        label_part, label_entries = take_rows(label_indptr, rows)
        lengths = np.diff(label_part)
        hot = torch.zeros(len(rows), len(split.label_names))
        documents = np.repeat(np.arange(len(rows)), lengths)
        hot[torch.from_numpy(documents), torch.from_numpy(label_ids[label_entries].astype(np.int64))] = 1.0
        batch = replace(batch, labels=hot, labelled=torch.from_numpy(lengths > 0))
    if nearest is not None:
        near, weights = nearest
        batch = replace(
            batch,
            neighbours=torch.from_numpy(near[rows].astype(np.int64)),
            neighbour_weights=torch.from_numpy(np.array(weights[rows])),
        )
    return batch


def _bag(
    rows: NDArray, indptr: NDArray, indices: NDArray, counts: NDArray, weighting: Weighting, vocabulary: Vocabulary
) -> Batch:
    indices = indices.astype(np.int64)
    return Batch(
        rows=torch.from_numpy(np.asarray(rows, np.int64)),
        indices=torch.from_numpy(indices),
        offsets=torch.from_numpy(indptr[:-1].copy()),
        values=torch.from_numpy(weigh(indptr, indices, counts, weighting, vocabulary)),
        counts=torch.from_numpy(counts.astype(np.float32)),
    )


def _padded(indptr: NDArray[np.int64], ids: NDArray, max_length: int) -> tuple[Tensor, Tensor]:
    lengths = np.minimum(np.diff(indptr), max_length)
    width = max(1, int(lengths.max(initial=0)))
    mask = np.arange(width) < lengths[:, None]
    entries = np.where(mask, indptr[:-1, None] + np.arange(width), 0)
    tokens = np.where(mask, ids[entries], 0) if len(ids) else np.zeros(mask.shape)
    return torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(mask)


def _padded_rows(indptr: NDArray[np.int64], rows: NDArray, max_length: int) -> tuple[Tensor, Tensor]:
    """Pad ragged rows [words, d] with 0; return them [B, T, d] and their mask [B, T]."""
    lengths = np.minimum(np.diff(indptr), max_length)
    width = max(1, int(lengths.max(initial=0)))
    mask = np.arange(width) < lengths[:, None]
    padded = np.zeros((*mask.shape, rows.shape[1]), rows.dtype)
    padded[mask] = rows[(indptr[:-1, None] + np.arange(width))[mask]]
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _bounds(documents: int, batch_size: int) -> list[int]:
    bounds = [*range(0, documents, batch_size), documents]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < min(SMALLEST_BATCH, batch_size):
        del bounds[-2]
    return bounds


def _check_workers(split: Split, drawn: int, batch_size: int, rank: int, workers: int) -> None:
    if batch_size < 1 or not 0 <= rank < workers:
        raise UsageError(f"batch_size={batch_size}, rank={rank}, workers={workers}.", "give 0 <= rank < workers.")
    if drawn == 0:
        raise CorpusError(
            f"{split!r} has no documents, or none that answers a question.", "prepare it with another split rule."
        )
    smallest = min(end - start for start, end in pairwise(_bounds(drawn, batch_size)))
    if smallest < workers:
        raise UsageError(
            f"{workers} workers share batches of down to {smallest} documents.",
            f"use at most {smallest} workers or a larger training.batch_size.",
        )
