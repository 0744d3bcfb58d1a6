"""Index in the memory of this process, with the same results as the service."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, overload

from texthash.arguments import check_choice, check_whole, is_between, shown
from texthash.errors import TexthashError, UsageError
from texthash.io.atomic import whole_directory
from texthash.local.browsing import Browsing
from texthash.local.documents import IndexedDocument, check_model, encode_documents
from texthash.local.memory_shard import MemoryShard
from texthash.local.result import SearchResult
from texthash.local.texts import as_ids, as_labels, as_texts
from texthash.paths import check_path, local_path

if TYPE_CHECKING:
    from texthash.api.attributes import AttributeType
    from texthash.api.requests import Mode, RescoringKind
    from texthash.config import KeywordAnalysis, VectorKind
    from texthash.index.filters.language import Where
    from texthash.index.keywords.weights import WordWeights
    from texthash.index.releases.release import Release
    from texthash.index.searched import SearchedShard
    from texthash.models.hasher import Hasher
    from texthash.models.query_encoder import QueryEncoder
    from texthash.models.text_reranker import TextReranker

_WRITING = threading.Lock()  # of all indexes, as each can be pickled; held while documents are copied
_MODEL, _DOCUMENTS = "model", "documents.parquet"


class Index(Browsing):
    """Documents and their codes, searched exactly in Hamming space.

    Args:
        model: Trained model, from :func:`texthash.train` or :func:`texthash.load`.
        texts: N documents, as for :func:`texthash.train`; None if there are only vectors.
        vectors: Vectors of the documents, numbers [N, D], for a model that learned from vectors.
        ids: Unique id of each document, a string or a whole number; None: its position, ``"0"`` and so on.
        labels: Labels of each document, by which a search can be filtered.
        attributes: Attributes of each document, a mapping of names to strings, numbers, booleans and dates
            (``datetime``) or None, by which a search can be filtered; or a table, whose columns they are. A missing
            value (None, NaN, NA, NaT) is left out.
        titles: Title of each document, empty or missing where it has none: its words count more than those of the text
            in a search by words.
        keywords: Analysis of the words for a search by words: ``english``, or ``plain`` for texts in other languages.
        title_weight: Number of times that a word of a title counts in a search by words.
        lead_weight: Number of times that each of the first 15 words of a text counts there.
        title_brevity: Power a, 0 to 1, by which short titles are preferred there: a score is divided by the number of
            words of the title to the a.
        bm25_k1: Constant of BM25: the more, the later a repeated word stops to count more.
        bm25_b: Constant of BM25, 0 to 1: the share of the length of a document in the weight of its words.

    A document without a known word has no meaningful code; it is kept, and found by its words alone.

    Raises:
        UsageError: An id occurs twice; there is another number of ids, vectors, labels, attributes or titles than of
            texts; a weight is out of range; the model cannot read the vectors, or only re-ranks; or an attribute has
            values of two types.

    >>> import texthash
    >>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
    >>> index = texthash.Index(texthash.train("nash", texts, bits=8), texts)
    >>> len(index.search("sort an array", k=2))
    2
    """

    def __init__(
        self,
        model: Hasher,
        texts: Iterable[str] | None = None,
        *,
        vectors: Any = None,
        ids: Iterable[str | int] | None = None,
        labels: Iterable[Any] | None = None,
        attributes: Iterable[Mapping[str, Any] | None] | None = None,
        titles: Iterable[str | None] | None = None,
        keywords: KeywordAnalysis = "english",
        title_weight: int = 5,
        lead_weight: int = 1,
        title_brevity: float = 0.0,
        bm25_k1: float = 1.2,
        bm25_b: float = 0.75,
    ) -> None:
        from texthash.models.query_encoder import QueryEncoder

        check_model(model)
        model.check_searchable()
        shard = encode_documents(
            model,
            texts,
            vectors=vectors,
            ids=ids,
            labels=labels,
            attributes=attributes,
            titles=titles,
            keywords=keywords,
            weights=_weights(title_weight, lead_weight, title_brevity, bm25_k1, bm25_b),
        )
        self._encoder = QueryEncoder.of(model)
        self._shards: Sequence[SearchedShard] = [shard]
        self._types: Mapping[str, AttributeType] = shard.types
        self._release: Release | None = None

    @classmethod
    def open(cls, name: str | Path = "current") -> Index:
        """Open a directory that :meth:`save` wrote, or a release of the state directory (``TEXTHASH_HOME``).

        Of a release in an object store the documents are copied to the cache of this node (``TEXTHASH_CACHE``).

        Args:
            name: Path of a directory, name of a release such as ``r000012``, or ``current``.

        Raises:
            TexthashError: There is no such directory or release, or it is broken.
        """
        from texthash.models.files import RECORD, TRAINED
        from texthash.models.query_encoder import QueryEncoder

        check_path("name", name)
        if Path(name, _DOCUMENTS).is_file():
            shard = MemoryShard.read(Path(name, _DOCUMENTS))
            return cls._of(QueryEncoder.open(Path(name, _MODEL)), [shard], shard.types)
        if any(Path(name, inside, RECORD).is_file() for inside in ("", TRAINED)):
            raise UsageError(
                f"{name} is a model, not an index.",
                "make an index of it, texthash.Index(texthash.load(...), texts), and open what its save(...) wrote.",
            )
        if isinstance(name, Path) or "/" in name:
            raise TexthashError(
                f"{name} is not a saved index.", "name a directory that Index.save wrote, or a release."
            )
        from texthash.index.releases.release import read_release
        from texthash.index.storage.document_copies import document_copies
        from texthash.paths import resolve_home

        home = resolve_home()
        release = read_release(home, str(name))
        shards = release.open_shards(home, document_copies())
        return cls._of(release.open_encoder(home), shards, release.attributes, release)

    @classmethod
    def _of(
        cls,
        encoder: QueryEncoder,
        shards: Sequence[SearchedShard],
        types: Mapping[str, AttributeType],
        release: Release | None = None,
    ) -> Index:
        index = object.__new__(cls)
        index._encoder, index._shards, index._types, index._release = encoder, shards, types, release
        return index

    @property
    def model(self) -> Hasher:
        """Model of the index; of an opened index, it is loaded when it is first used."""
        return self._encoder.hasher

    def __repr__(self) -> str:
        return f"Index({len(self):,} documents, {self.model!r})"

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    @overload
    def search(
        self,
        query: None = ...,
        k: int = ...,
        *,
        vectors: Any,
        mode: Mode | None = ...,
        rescore: RescoringKind | None = ...,
        radius: int | None = ...,
        labels: str | Sequence[str] | None = ...,
        filter: Mapping[str, Any] | None = ...,
        threads: int = ...,
    ) -> list[SearchResult]: ...

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        *,
        vectors: Any = ...,
        mode: Mode | None = ...,
        weight: float | None = ...,
        rescore: RescoringKind | None = ...,
        radius: int | None = ...,
        labels: str | Sequence[str] | None = ...,
        filter: Mapping[str, Any] | None = ...,
        rerank: Hasher | TextReranker | str | None = ...,
        candidates: int = ...,
        threads: int = ...,
    ) -> SearchResult: ...

    @overload
    def search(
        self,
        query: list[str],
        k: int = ...,
        *,
        mode: Mode | None = ...,
        weight: float | None = ...,
        rescore: RescoringKind | None = ...,
        radius: int | None = ...,
        labels: str | Sequence[str] | None = ...,
        filter: Mapping[str, Any] | None = ...,
        rerank: Hasher | TextReranker | str | None = ...,
        candidates: int = ...,
        threads: int = ...,
    ) -> list[SearchResult]: ...

    def search(
        self,
        query: str | list[str] | None = None,
        k: int = 10,
        *,
        vectors: Any = None,
        mode: Mode | None = None,
        weight: float | None = None,
        rescore: RescoringKind | None = None,
        radius: int | None = None,
        labels: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        rerank: Hasher | TextReranker | str | None = None,
        candidates: int = 50,
        threads: int = 1,
    ) -> SearchResult | list[SearchResult]:
        """Search for the nearest documents of a query, or of each of several.

        Args:
            query: One text, or a list of texts.
            k: Largest number of documents.
            vectors: Vectors of the queries, numbers [Q, D], in place of texts, in a hybrid search beside them.
            mode: ``semantic``: by the codes; ``keyword``: by the words that query and document share (BM25);
                ``hybrid``: by both, fused by reciprocal rank. None: in a release as the service searches it, hybrid
                for texts without a radius where it has words; in an index in memory, semantic.
            weight: Weight of the meaning in a hybrid search, 0 to 1; None: that of the release, 0.4 in memory.
            rescore: Finer order of the nearest by meaning: ``none``; ``asymmetric``: by the query's activations;
                ``float``: by the cosine with the vectors that the index stores. None: that of the release, none in
                memory and within a radius.
            radius: Largest Hamming distance, for a search by meaning; None: no limit.
            labels: Label, or labels, of which a document must have one; None: no condition.
            filter: Filter in the form of the HTTP API, such as ``{"attributes": {"year": {"gte": 2020}}}``; None: no
                condition.
            rerank: Re-ranker by which the first hits of a text are ordered again: a model of a method that re-ranks,
                its folder, or ``cross-encoder:`` and the folder or hub name of one; None: the order of the search.
            candidates: Number of hits, at least k, that are found for the re-ranker.
            threads: Number of threads that share the search.

        Returns:
            One result, or a list of them for a list of queries or for vectors. A query without a known word has no
            hits.

        Raises:
            UsageError: k is below 1, or the radius is negative; there is neither a query nor vectors, the model cannot
                read the vectors, or no document has an attribute of the filter.
        """
        where = self._where(labels, filter)
        check_whole("number k of documents", k, least=1)
        check_whole("number of threads", threads, least=1)
        check_whole("number of candidates", candidates, least=1)
        from texthash.api.requests import Mode, RescoringKind
        from texthash.corpora.prepared.embeddings.checks import count_of
        from texthash.index.search import SearchOptions

        if mode is not None:
            check_choice("mode", mode, get_args(Mode))
        if rescore is not None:
            check_choice("rescore", rescore, get_args(RescoringKind))
        _check_share(weight)
        options = SearchOptions.resolved(
            self._release,
            mode,
            rescore,
            texts=query is not None,
            weight=weight,
            radius=radius,
            limit=k,
            where=where,
            threads=threads,
        )
        if query is None and (vectors is None or options.mode != "semantic"):
            needed = "texts" if vectors is not None else "a query or vectors"
            raise UsageError(
                f"a search with mode={options.mode!r} needs {needed}.", "give query=..., vectors=..., or both."
            )
        several = (
            [""] * count_of(vectors)
            if query is None
            else as_texts([query] if isinstance(query, str) else query, "query")
        )
        wanted = k
        if rerank is not None:
            options = replace(options, limit=max(k, candidates))
        from texthash.local.searching import search_shards

        found = search_shards(self._encoder, self._shards, several, vectors, options, self._stored)
        if rerank is not None:
            if query is None:
                raise UsageError("re-ranking needs texts.", "give query=... beside the vectors, or leave out rerank.")
            from texthash.models.text_reranker import as_reranker

            reranker = as_reranker(rerank)
            found = [one.reranked(text, reranker, wanted) for one, text in zip(found, several, strict=True)]
        return found[0] if isinstance(query, str) else found

    def count(self, filter: Mapping[str, Any] | None = None, *, labels: str | Sequence[str] | None = None) -> int:
        """Return the number of documents, or of those that labels and a filter keep, as of :meth:`search`."""
        where = self._where(labels, filter)
        return len(self) if where is None else sum(len(shard.select(where)) for shard in self._shards)

    def upsert(
        self,
        texts: Iterable[str] | None = None,
        *,
        ids: Iterable[str | int],
        vectors: Any = None,
        labels: Iterable[Any] | None = None,
        attributes: Iterable[Mapping[str, Any] | None] | None = None,
        titles: Iterable[str | None] | None = None,
    ) -> None:
        """Add documents, and replace those that have one of the ids; the arguments are those of the index.

        A search that runs meanwhile sees all of them or none. The whole index is copied, and its tables are made again
        at the next search: give many documents at once.

        Raises:
            UsageError: As for a new index, or an attribute has a value of another type than before.
            TexthashError: The index is a release.
        """
        self._memory("written")
        new = encode_documents(
            self.model, texts, vectors=vectors, ids=ids, labels=labels, attributes=attributes, titles=titles
        )
        with _WRITING:
            shard = self._memory("written").replaced(new)
            self._types, self._shards = shard.types, [shard]

    def delete(
        self,
        ids: str | int | Iterable[str | int] | None = None,
        *,
        labels: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> int:
        """Delete documents by id, or those that labels and a filter keep, and return their number.

        Unknown ids are ignored.

        Raises:
            UsageError: Neither ids nor a condition are given, or both.
            TexthashError: The index is a release.
        """
        where, _ = self._chosen(ids, labels, filter)
        with _WRITING:
            before = self._memory("written")
            after = before.without(where)
            self._shards = [after]
        return len(before) - len(after)

    def get(
        self,
        ids: str | int | Iterable[str | int] | None = None,
        *,
        labels: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> list[IndexedDocument]:
        """Return documents with their codes: in the order of ids, or those that labels and a filter keep, in their own.

        Ids that are not there are left out.

        Raises:
            UsageError: Neither ids nor a condition are given, or both.
        """
        where, names = self._chosen(ids, labels, filter)
        found: dict[str, IndexedDocument] = {}
        for shard in self._shards:
            numbers = shard.select(where).numbers
            rows = shard.documents(numbers, ["title", "text", "labels", "attributes"])
            for row, code in zip(rows, shard.codes(numbers), strict=True):
                found[row["id"]] = IndexedDocument(
                    row["id"],
                    row["text"] or "",
                    row["labels"] or [],
                    row["attributes"],
                    code.tobytes(),
                    row["title"] or "",
                )
        return list(found.values()) if names is None else [found[name] for name in names if name in found]

    @property
    def attributes(self) -> Mapping[str, AttributeType]:
        """Type of each attribute that a document has had: string, number, boolean or date."""
        return self._types

    def _chosen(
        self,
        ids: str | int | Iterable[str | int] | None,
        labels: str | Sequence[str] | None,
        filter: Mapping[str, Any] | None,
    ) -> tuple[Where, list[str] | None]:
        """Return the condition of ids, or of labels and a filter, and the ids."""
        from texthash.index.filters.language import Ids

        where = self._where(labels, filter)
        if (ids is None) == (where is None):
            raise UsageError("either ids or a filter are needed.", "give ids, or labels and filter={...}.")
        if where is not None:
            return where, None
        given = sorted(ids, key=str) if isinstance(ids, AbstractSet) else ids  # a set may be given: its order is free
        names = as_ids([given] if isinstance(given, str | int) else () if given is None else given)
        return Ids(tuple(names)), names

    def _memory(self, done: str) -> MemoryShard:
        """Return the documents of an index in memory."""
        (shard, *more) = self._shards
        if more or not isinstance(shard, MemoryShard):
            raise TexthashError(
                f"this index is a release, which is not {done} here.",
                "write by the service or `texthash index upsert`; copy a release by `texthash index backup`.",
            )
        return shard

    @property
    def _stored(self) -> VectorKind | None:
        """Kind of the vectors that the index stores; None for none."""
        stored = None if self._release is None else self._release.vectors
        return None if stored is None else stored.kind

    def _where(self, labels: str | Sequence[str] | None, filter: Mapping[str, Any] | None) -> Where | None:
        """Return the condition of labels and a filter; None without both."""
        from texthash.index.filters.given import filter_of
        from texthash.index.filters.language import All, Labels, where_of

        where = where_of(filter_of(filter), self._types)
        if labels is None:
            return where
        (names,) = as_labels([labels], 1) or [[]]
        if not names:
            raise UsageError("labels is empty.", "give one, several, or None for no condition.")
        own = Labels(tuple(names))
        return own if where is None else All((own, where))

    def save(self, directory: str | Path) -> Path:
        """Write model, documents and codes to a new directory, atomically.

        Raises:
            FileExistsError: The directory exists.
            TexthashError: The index is a release, which is stored already.
        """
        directory = local_path(directory)
        shard = self._memory("saved")
        if directory.exists():
            raise FileExistsError(
                f"{directory} exists; a saved index is never overwritten: name another directory, or remove it"
            )
        with whole_directory(directory) as partial:
            self.model.save(partial / _MODEL)
            shard.write(partial / _DOCUMENTS)
        return directory


def _weights(title: int, lead: int, brevity: float, k1: float, b: float) -> WordWeights:
    from texthash.index.keywords.weights import WordWeights

    for name, weight in (("title_weight", title), ("lead_weight", lead)):
        if not isinstance(weight, int) or not is_between(weight, 1, 100):
            raise UsageError(f"{name}={shown(weight)} is no weight.", "give a whole number from 1 to 100.")
    if not is_between(brevity, 0, 1):
        raise UsageError(f"title_brevity={shown(brevity)} is no power.", "give a number from 0 (no preference) to 1.")
    if not (is_between(k1, 0, 100) and k1 > 0 and is_between(b, 0, 1)):
        raise UsageError(
            f"bm25_k1={shown(k1)}, bm25_b={shown(b)}: out of range.", "give k1 above 0 to 100, and b from 0 to 1."
        )
    return WordWeights(title, lead, brevity, k1, b)


def _check_share(weight: float | None) -> None:
    if weight is not None and not is_between(weight, 0, 1):
        raise UsageError(
            f"weight={shown(weight)} is not a share.", "give a number from 0 (words alone) to 1 (meaning alone)."
        )
