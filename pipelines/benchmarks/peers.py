"""Vector engines of the comparison, each holding the same codes behind one interface."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from texthash.hamming import kernels
from texthash.index.memory.multi_index import MultiIndex
from texthash.index.rescoring import signs_of
from texthash.integrations.engines import to_faiss_multi_hash, to_qdrant

Codes = NDArray[np.uint8]
Rows = list[NDArray[np.int64]]
GROUPS = 10  # a filter keeps the documents of group 0, a tenth of them
_PROBED, _PARTS = 16, 64  # partitions of Lance's inverted file that a search reads, of all


class Texts(NamedTuple):
    """Documents or queries: codes, uint8 [N, bits / 8], and unit vectors, float32 [N, D]."""

    codes: Codes
    vectors: NDArray[np.float32]

    def part(self, first: int, last: int) -> Texts:
        """Return some of the texts."""
        return Texts(self.codes[first:last], self.vectors[first:last])

    @property
    def groups(self) -> NDArray[np.int64]:
        """Group of each document, by its row."""
        return np.arange(len(self.codes)) % GROUPS


class Found(NamedTuple):
    """Rows of the nearest documents of each query, and their Hamming distances; None if the engine reports others."""

    rows: Rows
    distances: Rows | None = None


Search = Callable[[Texts, int], Found]


@dataclass
class Peer:
    """Engine with an index of the documents.

    Attributes:
        search: Function of queries and k.
        size_bytes: Size of the index by its own account; of Qdrant what the process grew by.
        add: Function of documents that adds them to the index, and returns a search that finds them; None if none can
            be added.
        filtered: Search among the documents of group 0; None if the engine has no filter.
        rescored: Search by codes whose hits the engine itself reorders by finer values; None if it does not.
        codes: Codes of the documents and queries, if they are of the engine's own making.
    """

    search: Search
    size_bytes: int
    add: Callable[[Texts], Search] | None = None
    filtered: Search | None = None
    rescored: Search | None = None
    own_codes: str | None = None


def _texthash(documents: Texts) -> Peer:
    """Return the index of a shard, as a service and ``texthash.Index`` hold it, without texts and words."""
    index = MultiIndex(documents.codes, np.arange(len(documents.codes))).prepare()
    mask = kernels.pack_allow(documents.groups == 0)

    def of(searched: MultiIndex, allow: Any = None) -> Search:
        def search(queries: Texts, k: int) -> Found:
            hits = searched.search(queries.codes, k, allow=allow)
            return Found(hits.numbers, [near.astype(np.int64) for near in hits.distances])

        return search

    def add(more: Texts) -> Search:
        return of(index.added(more.codes, len(index) + np.arange(len(more.codes))))

    return Peer(of(index), index.size_bytes, add, of(index, mask))


def _faiss(index: Any, documents: Texts, *, filters: bool) -> Peer:
    faiss: Any = import_module("faiss")
    faiss.omp_set_num_threads(1)
    size = len(faiss.serialize_index_binary(index))
    allowed = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.flatnonzero(documents.groups == 0)))

    def of(params: Any = None) -> Search:
        def search(queries: Texts, k: int) -> Found:
            distances, rows = index.search(queries.codes, k, params=params)
            return Found(_found(rows, rows), _found(distances.astype(np.int64), rows))

        return search

    def add(more: Texts) -> Search:
        index.add(more.codes)
        return of()

    return Peer(of(), size, add, of(allowed) if filters else None)


def _faiss_flat(documents: Texts) -> Peer:
    faiss: Any = import_module("faiss")
    index = faiss.IndexBinaryFlat(8 * documents.codes.shape[1])
    index.add(documents.codes)
    return _faiss(index, documents, filters=True)


def _faiss_multi_hash(documents: Texts) -> Peer:
    return _faiss(to_faiss_multi_hash(documents.codes, flips=2), documents, filters=False)


def _usearch(documents: Texts, *, exact: bool) -> Peer:
    from usearch.index import Index

    index = Index(ndim=8 * documents.codes.shape[1], metric="hamming", dtype="b1")
    index.add(np.arange(len(documents.codes), dtype=np.uint64), documents.codes, threads=1)

    def search(queries: Texts, k: int) -> Found:
        found = index.search(queries.codes, k, exact=exact, threads=1)
        keys, distances = (np.atleast_2d(some) for some in (found.keys, found.distances))
        return Found(list(keys.astype(np.int64)), list(distances.astype(np.int64)))

    def add(more: Texts) -> Search:
        first = len(index)
        index.add(first + np.arange(len(more.codes), dtype=np.uint64), more.codes, threads=1)
        return search

    return Peer(search, index.memory_usage, add)


def _lance(documents: Texts, *, kind: str | None) -> Peer:
    """Return a dataset on disk: codes by a scan or an inverted file, or vectors by Lance's own codes of one bit."""
    lance: Any = import_module("lance")
    folder = tempfile.TemporaryDirectory(prefix="texthash-compare-")  # lives as long as the search below
    path = Path(folder.name)
    own = kind == "IVF_RQ"
    dataset = lance.write_dataset(_arrow(documents, 0, own), path / "codes.lance")
    dataset.create_scalar_index("kept_by", "BITMAP")
    metric = "cosine" if own else "hamming"
    if kind is not None:
        dataset.create_index("value", kind, metric=metric, num_partitions=_PARTS, **({"num_bits": 1} if own else {}))

    def of(filter_: str | None = None, refine: int | None = None, folder: Any = folder) -> Search:
        def search(queries: Texts, k: int, kept: Any = folder) -> Found:
            tables = [
                dataset.to_table(
                    columns=["row", "_distance"],
                    nearest={"column": "value", "q": query, "k": k, "metric": metric, "nprobes": _PROBED}
                    | ({} if refine is None else {"refine_factor": refine}),
                    filter=filter_,
                    prefilter=filter_ is not None,
                    disable_scoring_autoprojection=True,
                )
                for query in (queries.vectors if own else queries.codes)
            ]
            distances = [table["_distance"].to_numpy().astype(np.int64) for table in tables]
            return Found([table["row"].to_numpy() for table in tables], None if own else distances)

        return search

    def add(more: Texts) -> Search:
        dataset.insert(_arrow(more, dataset.count_rows(), own))
        return of()

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    # ten candidates a hit, as every engine of the comparison has
    refined = of(refine=10) if own else None
    return Peer(of(), size, add, of("kept_by = 0"), refined, "RaBitQ of the vectors" if own else None)


def _arrow(texts: Texts, first: int, vectors: bool) -> Any:
    import pyarrow as pa

    values = texts.vectors if vectors else texts.codes
    return pa.table(
        {
            "row": first + np.arange(len(values)),
            "kept_by": texts.groups,
            "value": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
        }
    )


def _qdrant(documents: Texts) -> Peer:
    """Return a collection of Qdrant's local mode, which compares vectors of -1 and 1 by numpy."""
    from qdrant_client import QdrantClient, models

    before = psutil.Process().memory_info().rss
    client = QdrantClient(":memory:")
    to_qdrant(client, documents.codes, [str(row) for row in range(len(documents.codes))])
    size = psutil.Process().memory_info().rss - before
    for first in range(0, len(documents.codes), 10_000):
        rows = [row for row in range(first, min(first + 10_000, len(documents.codes))) if row % GROUPS == 0]
        client.set_payload("codes", {"group": 0}, points=rows)
    kept = models.Filter(must=[models.FieldCondition(key="group", match=models.MatchValue(value=0))])

    def of(condition: Any = None) -> Search:
        def search(queries: Texts, k: int) -> Found:
            bits = 8 * queries.codes.shape[1]
            asked = [
                models.QueryRequest(query=one.tolist(), limit=k, filter=condition) for one in signs_of(queries.codes)
            ]
            answers = client.query_batch_points("codes", asked)
            return Found(
                [np.asarray([point.id for point in answer.points], np.int64) for answer in answers],
                [np.asarray([round((bits - p.score) / 2) for p in answer.points], np.int64) for answer in answers],
            )

        return search

    def add(more: Texts) -> Search:
        first = client.count("codes").count
        signs = signs_of(more.codes)
        client.upsert("codes", models.Batch(ids=[first + row for row in range(len(signs))], vectors=signs.tolist()))
        return of()

    return Peer(of(), size, add, of(kept))


def _sentence_transformers(documents: Texts) -> Peer:
    """Return the search of sentence-transformers over signs of the vectors, rescored by the float query."""
    faiss: Any = import_module("faiss")
    theirs: Any = import_module("sentence_transformers.util.quantization")
    quantize_embeddings, semantic_search_faiss = theirs.quantize_embeddings, theirs.semantic_search_faiss
    codes = quantize_embeddings(documents.vectors, "ubinary")
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    size = len(faiss.serialize_index_binary(index))

    def of(multiplier: int | None) -> Search:
        def search(queries: Texts, k: int) -> Found:
            hits, _ = semantic_search_faiss(
                queries.vectors if multiplier else quantize_embeddings(queries.vectors, "ubinary"),
                corpus_index=index,
                corpus_precision="ubinary",
                top_k=k,
                rescore=multiplier is not None,
                rescore_multiplier=multiplier or 1,
            )[:2]
            return Found([np.asarray([hit["corpus_id"] for hit in some], np.int64) for some in hits])

        return search

    def add(more: Texts) -> Search:
        index.add(quantize_embeddings(more.vectors, "ubinary"))
        return of(None)

    return Peer(of(None), size, add, None, of(10), "signs of the vectors")


def _found(values: NDArray[np.int64], rows: NDArray[np.int64]) -> Rows:
    """Return the values of each query without the places that faiss left empty."""
    return [some[own >= 0] for some, own in zip(values, rows, strict=True)]


PEERS: dict[str, tuple[Sequence[str], Callable[[Texts], Peer]]] = {
    "texthash": ((), _texthash),
    "faiss IndexBinaryFlat": (("faiss",), _faiss_flat),
    "faiss IndexBinaryMultiHash": (("faiss",), _faiss_multi_hash),
    "usearch, exact": (("usearch",), lambda documents: _usearch(documents, exact=True)),
    "usearch, graph": (("usearch",), lambda documents: _usearch(documents, exact=False)),
    "Lance, scan": (("lance",), lambda documents: _lance(documents, kind=None)),
    "Lance, IVF_FLAT": (("lance",), lambda documents: _lance(documents, kind="IVF_FLAT")),
    "Lance, IVF_RQ": (("lance",), lambda documents: _lance(documents, kind="IVF_RQ")),
    "Qdrant, local mode": (("qdrant_client",), _qdrant),
    "sentence-transformers": (("sentence_transformers", "faiss"), _sentence_transformers),
}
