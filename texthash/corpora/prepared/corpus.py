"""A prepared corpus on disk: Parquet shards per split, a vocabulary, a manifest, and memory-mapped views of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.config import Weighting
from texthash.corpora.document import SPLITS
from texthash.corpora.label_tree import LabelTree
from texthash.corpora.prepared.csr_cache import CACHE, open_cache
from texthash.corpora.prepared.manifest import Manifest
from texthash.corpora.prepared.weighting import weigh
from texthash.corpora.words import Analyzer, Vocabulary
from texthash.errors import CorpusError, UsageError
from texthash.io.atomic import is_local, read_parquet
from texthash.io.listing import matching
from texthash.paths import as_path, node_cache

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from texthash.corpora.prepared.embeddings.token_vectors import TokenVectors
    from texthash.executor import Executor

VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class CorpusShape:
    """Sizes for which a method is built.

    Attributes:
        vocabulary: Number of words.
        labels: Number of labels.
        documents: Number of training documents.
        dense: Width of the vectors of ``encoder``; 0 without one.
        multi_label: Whether a document may have several labels.
        encoder: Source of vectors of the documents, of a sentence encoder ``name@digest``; None without one.
    """

    vocabulary: int
    labels: int
    documents: int
    dense: int = 0
    multi_label: bool = False
    encoder: str | None = None

    def to_dict(self) -> dict[str, int | bool | str | None]:
        return asdict(self)


class Split:
    """Documents of one split, in reading order. Arrays are memory-mapped: taking rows does not load the rest."""

    def __init__(self, name: str, corpus: PreparedCorpus) -> None:
        self.name = name
        self._corpus = corpus
        self._counts = corpus.manifest.splits[name]

    def __len__(self) -> int:
        return self._counts.documents

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {len(self)} documents, {self._corpus.path})"

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the corpus, learned from train."""
        return self._corpus.vocabulary

    @property
    def label_names(self) -> list[str]:
        return self._corpus.label_names

    @property
    def shape(self) -> CorpusShape:
        """Sizes of the corpus."""
        return self._corpus.shape

    @property
    def train(self) -> Split:
        """Training split of the same corpus."""
        return self._corpus.train

    @property
    def cache(self) -> Path:
        """Directory of data derived from the shards of this corpus, which can be rebuilt."""
        return self._corpus.cache

    @property
    def label_tree(self) -> LabelTree:
        """Labels and their ancestors."""
        return self._corpus.label_tree

    @cached_property
    def ids(self) -> list[str]:
        """Document ids."""
        return [id_ for shard in self.shards for part in read_parquet(shard, ["id"]) for id_ in part["id"].to_pylist()]

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """``indptr`` [N + 1], sorted word numbers and their counts [words]."""
        arrays = self._arrays
        return arrays["words_indptr"], arrays["words"], arrays["counts"]

    @property
    def tokens(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and word numbers in the order of the text [tokens], with repetitions.

        Words outside of the vocabulary are left out, so that the words around them become adjacent. Number 0 is a word,
        so a batch that pads with it has a ``mask``; it also truncates long documents after ``max_length`` words.
        """
        return self._arrays["tokens_indptr"], self._arrays["tokens"]

    @property
    def label_ids(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """``indptr`` [N + 1] and label numbers, sorted within a document."""
        return self._arrays["labels_indptr"], self._arrays["labels"]

    @cached_property
    def labels(self) -> csr_matrix:
        """Label membership, uint8 [N, labels]."""
        from scipy.sparse import csr_matrix

        indptr, indices = self.label_ids
        shape = (len(self), len(self.label_names))
        return csr_matrix((np.ones(len(indices), np.uint8), np.asarray(indices), np.asarray(indptr)), shape=shape)

    def matrix(self, weighting: Weighting = "tfidf") -> csr_matrix:
        """Return the weighted bags of words of the whole split, float32 [N, vocabulary], in memory."""
        from scipy.sparse import csr_matrix

        indptr, indices, counts = (np.asarray(array) for array in self.counts)
        values = weigh(indptr, indices, counts, weighting, self.vocabulary)
        return csr_matrix((values, indices, indptr), shape=(len(self), len(self.vocabulary)))

    def neighbours(self, k: int, graph: str = "cosine:bm25") -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the k nearest other training documents of each, best first, ties by row. Computed once, then cached.

        Args:
            k: Number of neighbours.
            graph: ``cosine:<weighting>``, or ``dense:<source>`` by the cosine of :meth:`dense`, computed here if it is
                not cached; or ``hamming:<method>-<bits>`` over codes of the training documents, computed by
                :func:`texthash.models.graphs.ensure_graph` (before training).

        Returns:
            ``rows`` int32 [N, k] and ``weights`` float32 [N, k]: cosines, or the share of equal bits.

        Raises:
            CorpusError: The split is not train, the Hamming graph or the vectors have not been computed, or the cached
                graph is of another number of documents.
            UsageError: The graph is unknown, or k is not below the number of documents.
        """
        from texthash.corpora.prepared.neighbours.cache import GraphName, make_graph, open_graph
        from texthash.corpora.prepared.neighbours.cosine import CosineSearch
        from texthash.corpora.prepared.neighbours.dense import DenseSearch
        from texthash.corpora.prepared.neighbours.search import check_k

        if self.name != "train":
            raise CorpusError(f"the {self.name} split has no neighbour graph.", "graphs are fitted to train only.")
        name = GraphName.parse(graph)
        if name.kind == "cosine":
            return make_graph(self.cache, name, k, len(self), lambda: CosineSearch.of(self.matrix(name.weighting)))
        if name.kind == "dense":
            vectors = self.dense(name.of)  # which are those of the name, or this is an error
            return make_graph(self.cache, name, k, len(self), lambda: DenseSearch.of(vectors))
        check_k(k, len(self))
        cached = open_graph(self.cache, name, k, len(self))
        if cached is None:
            raise CorpusError(
                f"{self._corpus.path} has no graph {graph} of {k} neighbours.",
                f"compute it: texthash.models.graphs.ensure_graph(corpus.train, {graph!r}, {k}).",
            )
        return cached

    def dense(self, encoder: str) -> NDArray[np.float32]:
        """Return vectors of the documents, float32 [N, width], memory-mapped.

        Args:
            encoder: Name of their source, of an encoder also ``name@digest``; see
                :mod:`texthash.corpora.prepared.embeddings.sources`.

        Raises:
            CorpusError: The vectors have not been stored; see :func:`~.embeddings.cache.ensure_features`.
            ModelMismatchError: The vectors are of another model than the digest names.
        """
        from texthash.corpora.prepared.embeddings.stored import open_features

        return open_features(self.cache, encoder, self.name)[: len(self)]

    def token_vectors(self, encoder: str, executor: Executor | None = None) -> TokenVectors:
        """Return the vectors of the word pieces of the documents by a sentence encoder; encoded once, then cached.

        Args:
            encoder: Identity of the encoder, whose vectors of the documents have been stored.
            executor: Runs the encoder; None: this process.

        Raises:
            CorpusError: The vectors of the documents have not been stored.
            ModelMismatchError: They are of another model.
            UsageError: The source gives no vectors of word pieces.
        """
        from texthash.corpora.prepared.embeddings.token_vectors import ensure_token_vectors

        return ensure_token_vectors(self, encoder, *([] if executor is None else [executor]))

    def codes(self, model: str) -> NDArray[np.uint8]:
        """Return codes of the training documents by ``<method>-<bits>``, such as ``sth-64``, for a Hamming graph.

        Returns:
            Packed codes, uint8 [N, bits / 8], memory-mapped.

        Raises:
            CorpusError: The split is not train, or the codes have not been computed.
        """
        path = self.code_file(model)
        if self.name != "train" or not path.is_file():
            raise CorpusError(
                f"the {self.name} split of {self._corpus.path} has no codes by {model}.",
                f"compute those of train: texthash.models.graphs.ensure_codes(corpus.train, {model!r}).",
            )
        return np.load(path, mmap_mode="r")

    def code_file(self, model: str) -> Path:
        """Return the path of the cached :meth:`codes`."""
        return self.cache / "codes" / f"{model}.npy"

    def documents(self, batch: int = 1024) -> Iterator[pa.Table]:
        """Yield tables of ``id``, ``text``, ``title`` and ``labels`` (list of names), at most ``batch`` rows each.

        A corpus with attributes has ``attributes`` (JSON) too.
        """
        for shard in self.shards:
            for part in read_parquet(shard, self.document_columns, batch):
                yield pa.Table.from_batches([part])

    @property
    def document_columns(self) -> list[str]:
        """Columns of :meth:`documents`."""
        return ["id", "text", "title", "labels", *(["attributes"] if self._corpus.manifest.attributes else [])]

    @property
    def shards(self) -> list[Path]:
        """Parquet files of the split, in order."""
        return matching(self._corpus.path / self.name, "part-*.parquet")

    @cached_property
    def _arrays(self) -> dict[str, NDArray]:
        return open_cache(self._corpus.path / self.name, self.cache, self._counts)

    def __getstate__(self) -> dict[str, object]:
        """Pickle the location only: the other process maps the arrays itself."""
        return {"name": self.name, "_corpus": self._corpus, "_counts": self._counts}


class PreparedCorpus:
    """Prepared corpus: one edition, ready for training and evaluation. Open it with :meth:`open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> PreparedCorpus:
        """Open the directory of a prepared corpus, or an address such as ``s3://bucket/corpora/name/edition``.

        Raises:
            CorpusError: It is not a prepared corpus, has another schema version or does not match its manifest.
        """
        directory = as_path(path)
        corpus = cls(directory, Manifest.read(directory))
        if corpus.vocabulary.hash != corpus.manifest.vocabulary_hash:
            raise CorpusError(
                f"{directory / VOCABULARY} is not the vocabulary that the manifest names.",
                "delete the directory and prepare it again.",
            )
        return corpus

    def __repr__(self) -> str:
        return f"PreparedCorpus({self.manifest.name}/{self.manifest.edition}, {self.manifest.documents})"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.read(self.path / VOCABULARY, "delete the directory and prepare it again.")

    @cached_property
    def analyzer(self) -> Analyzer:
        """Tokeniser of the edition, for new text."""
        return Analyzer.from_edition(self.manifest.config.edition)

    @property
    def cache(self) -> Path:
        """Directory of data derived from the shards: beside them, or on this node if they are in an object store."""
        if is_local(self.path):
            return self.path / CACHE
        manifest = self.manifest
        identity = [str(self.path), manifest.config_hash, manifest.source_checksum, manifest.vocabulary_hash]
        digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
        return node_cache() / "corpora" / f"{manifest.name}-{manifest.edition}-{digest}"

    @property
    def label_names(self) -> list[str]:
        return self.manifest.label_names

    @cached_property
    def label_tree(self) -> LabelTree:
        """Labels and their ancestors; flat where the corpus defines no tree."""
        return LabelTree.of(self.label_names, self.manifest.label_parents)

    @property
    def shape(self) -> CorpusShape:
        documents = self.manifest.documents["train"]
        return CorpusShape(
            vocabulary=len(self.vocabulary),
            labels=len(self.label_names),
            documents=documents,
            multi_label=self.manifest.multi_label,
        )

    def shape_with(self, encoder: str | None) -> CorpusShape:
        """Return the shape with a source of vectors and their width, which have to be stored; None for none."""
        from texthash.corpora.prepared.embeddings.stored import features_of

        if encoder is None:
            return self.shape
        identity, width = features_of(self.cache, encoder)
        return replace(self.shape, encoder=identity, dense=width)

    @cached_property
    def train(self) -> Split:
        return self.split("train")

    @cached_property
    def validation(self) -> Split:
        return self.split("validation")

    def split(self, name: str) -> Split:
        """Return a split by name; ``test`` has no property of its own, so that it is only used on purpose."""
        if name not in self.manifest.splits:
            raise UsageError(f"there is no split {name!r}.", f"use one of {', '.join(SPLITS)}.")
        return Split(name, self)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "manifest": self.manifest}
