"""An index in the memory of this process; it answers as the service does."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from texthash.errors import TexthashError, UsageError
from texthash.local.texts import as_labels, as_texts, check_unique

if TYPE_CHECKING:
    from texthash.index.memory.flat import Hits
    from texthash.models.hasher import Hasher

_MODEL, _DOCUMENTS = "model", "documents.parquet"
_KEPT = ("id", "text", "labels", "code", "known")


@dataclass(frozen=True, repr=False)
class SearchResult:
    """The nearest documents of one query, by distance; equal distances in the order in which documents were added.

    Attributes:
        ids: Id of each document.
        distances: Bits in which its code differs from the query's, int64.
        texts: Text of each document.
        labels: Labels of each document.
    """

    ids: list[str]
    distances: NDArray[np.int64]
    texts: list[str]
    labels: list[list[str]]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        rows = zip(self.distances.tolist(), self.ids, self.texts, strict=True)
        return "\n".join(f"{distance:4d}  {id_}  {' '.join(text.split())[:80]}" for distance, id_, text in rows)


class _Documents(Protocol):
    """Where the codes and documents of an index are."""

    def __len__(self) -> int: ...

    def search(
        self, codes: NDArray[np.uint8], k: int, radius: int | None, labels: Sequence[str] | None, threads: int
    ) -> list[SearchResult]: ...


class Index:
    """Documents and their codes, searched exactly in Hamming space.

    Args:
        model: A trained model: :func:`texthash.train`, :func:`texthash.load`.
        texts: N documents, as for :func:`texthash.train`.
        ids: Id of each document, all different; None: its position, ``"0"`` and so on.
        labels: Labels of each document, by which a search can be filtered.

    A document without a word that the model knows has no meaningful code; it is kept, and never found.

    Raises:
        UsageError: ids that occur twice, or not one id and one entry of labels a text.

    >>> import texthash
    >>> texts = ["sort an array", "sort a list of numbers", "open a file", "read a table", "plot a graph"]
    >>> index = texthash.Index(texthash.train("nash", texts, bits=8), texts)
    >>> len(index.search("sort an array", k=2))
    2
    """

    def __init__(
        self,
        model: Hasher,
        texts: Iterable[str],
        *,
        ids: Iterable[str] | None = None,
        labels: Iterable[Any] | None = None,
    ) -> None:
        documents = as_texts(texts)
        names = [str(number) for number in range(len(documents))] if ids is None else as_texts(ids, "ids", "id")
        if len(names) != len(documents):
            raise UsageError(f"there are {len(names)} ids for {len(documents)} texts.", "give one id for each text.")
        check_unique(names)
        read = model.read(documents)
        kept = as_labels(labels, len(documents)) or [[] for _ in documents]
        self.model = model
        self._documents: _Documents = _InMemory(names, documents, kept, model.binarize(read.values), read.known)

    @classmethod
    def open(cls, name: str | Path = "current") -> Index:
        """Open a directory that :meth:`save` wrote, or a release of the state directory (``TEXTHASH_HOME``).

        Args:
            name: A directory; the name of a release, such as ``r000012``; or ``current``.

        Raises:
            TexthashError: there is no such directory or release, or it is broken.
        """
        from texthash.models.hasher import Hasher

        if Path(name, _DOCUMENTS).is_file():
            return cls._of(Hasher.load(Path(name, _MODEL)), _InMemory.read(Path(name, _DOCUMENTS)))
        if isinstance(name, Path) or "/" in name:
            raise TexthashError(f"{name} is no saved index.", "name a directory that Index.save wrote, or a release.")
        from texthash.index.releases.release import open_release
        from texthash.paths import resolve_home

        opened = open_release(resolve_home(), name)
        return cls._of(opened.hasher, _Released(opened.shards))

    @classmethod
    def _of(cls, model: Hasher, documents: _Documents) -> Index:
        index = object.__new__(cls)
        index.model, index._documents = model, documents
        return index

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def search(
        self, query: str, k: int = ..., *, radius: int | None = ..., labels: str | Sequence[str] | None = ...
    ) -> SearchResult: ...

    @overload
    def search(
        self,
        query: list[str],
        k: int = ...,
        *,
        radius: int | None = ...,
        labels: str | Sequence[str] | None = ...,
    ) -> list[SearchResult]: ...

    def search(
        self,
        query: str | list[str],
        k: int = 10,
        *,
        radius: int | None = None,
        labels: str | Sequence[str] | None = None,
        threads: int = 1,
    ) -> SearchResult | list[SearchResult]:
        """Return the nearest documents of a query, or of each of several.

        Args:
            query: One text, or a list of texts.
            k: Number of documents at most.
            radius: Only documents whose code differs in at most so many bits.
            labels: Only documents with this label, or with one of these.
            threads: Threads that share the search.

        Returns:
            One result, or a list of them for a list of queries. A query without a known word has no hits.

        Raises:
            TexthashError: k below 1, or a negative radius.
        """
        several = as_texts([query] if isinstance(query, str) else query, "query")
        wanted = [labels] if isinstance(labels, str) else labels
        read = self.model.read(several, role="query")
        results = self._documents.search(self.model.binarize(read.values), k, radius, wanted, threads)
        found = [result if known else _nothing() for result, known in zip(results, read.known, strict=True)]
        return found[0] if isinstance(query, str) else found

    def save(self, directory: str | Path) -> Path:
        """Write model, documents and codes to a directory, which appears when it is whole.

        Raises:
            FileExistsError: the directory exists.
            TexthashError: the index is a release, which is kept already.
        """
        directory = Path(directory)
        if not isinstance(self._documents, _InMemory):
            raise TexthashError(
                "this index is a release, which is kept in its state directory.", "copy it by a backup."
            )
        if directory.exists():
            raise FileExistsError(f"{directory} exists; a saved index is never overwritten")
        partial = directory.with_name(f".{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.model.save(partial / _MODEL)
        self._documents.write(partial / _DOCUMENTS)
        partial.rename(directory)
        return directory


class _InMemory:
    """Documents as lists, their codes in a :class:`MultiIndex`. Number of a document: its position."""

    def __init__(
        self,
        ids: list[str],
        texts: list[str],
        labels: list[list[str]],
        codes: NDArray[np.uint8],
        known: NDArray[np.bool_],
    ) -> None:
        from texthash.index.memory.multi_index import MultiIndex

        self.ids, self.texts, self.labels, self.codes, self.known = ids, texts, labels, codes, known
        self._index = MultiIndex(codes[known], np.flatnonzero(known).astype(np.int64)).prepare()

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self, codes: NDArray[np.uint8], k: int, radius: int | None, labels: Sequence[str] | None, threads: int
    ) -> list[SearchResult]:
        allow = None
        if labels is not None:
            wanted = set(labels)
            allow = np.array([not wanted.isdisjoint(self.labels[number]) for number in self._index.numbers], np.bool_)
        hits = self._index.search(codes, k, 0, radius, allow, threads)
        return [self._result(near, numbers) for near, numbers in zip(hits.distances, hits.numbers, strict=True)]

    def _result(self, distances: NDArray[Any], numbers: NDArray[np.int64]) -> SearchResult:
        rows = numbers.tolist()
        texts, labels = [self.texts[row] for row in rows], [self.labels[row] for row in rows]
        return SearchResult([self.ids[row] for row in rows], distances.astype(np.int64), texts, labels)

    def write(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = (self.ids, self.texts, self.labels, [code.tobytes() for code in self.codes], self.known)
        pq.write_table(pa.table(dict(zip(_KEPT, map(pa.array, columns), strict=True))), path)

    @classmethod
    def read(cls, path: Path) -> _InMemory:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            ids, texts, labels, codes, known = (table[name].to_pylist() for name in _KEPT)
        except (pa.ArrowException, KeyError, OSError) as error:
            raise TexthashError(f"{path} is broken: {error}", "restore the directory that Index.save wrote.") from None
        packed = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
        return cls(ids, texts, labels, packed, np.asarray(known, np.bool_))


class _Released:
    """The shards of a release."""

    def __init__(self, shards: Sequence[Any]) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def search(
        self, codes: NDArray[np.uint8], k: int, radius: int | None, labels: Sequence[str] | None, threads: int
    ) -> list[SearchResult]:
        from texthash.index.shard import merge

        parts = [shard.search(codes, k, 0, radius, labels, threads) for shard in self._shards]
        hits, owners = merge(parts, k)
        return [self._result(hits, query, owners[query]) for query in range(len(codes))]

    def _result(self, hits: Hits, query: int, owners: NDArray[np.int64]) -> SearchResult:
        numbers = hits.numbers[query]
        rows: list[dict[str, Any]] = [{}] * len(numbers)
        for shard in np.unique(owners):
            places = np.flatnonzero(owners == shard)
            found = self._shards[shard].documents(numbers[places], ["text", "labels"])
            for place, row in zip(places, found, strict=True):
                rows[place] = row
        texts = [row["text"] or "" for row in rows]
        labels = [row["labels"] or [] for row in rows]
        return SearchResult([row["id"] for row in rows], np.asarray(hits.distances[query], np.int64), texts, labels)


def _nothing() -> SearchResult:
    return SearchResult([], np.empty(0, np.int64), [], [])
