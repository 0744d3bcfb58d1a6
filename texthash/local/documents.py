"""Encoding of documents into a shard in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from texthash.corpora.prepared.embeddings.checks import count_of
from texthash.errors import UsageError
from texthash.local.memory_shard import MemoryDocuments, MemoryShard
from texthash.local.texts import as_attributes, as_ids, as_labels, as_texts, as_titles, check_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from texthash.api.attributes import Value
    from texthash.config import KeywordAnalysis
    from texthash.index.keywords.weights import WordWeights
    from texthash.models.hasher import Hasher


@dataclass(frozen=True)
class IndexedDocument:
    """Document of an index.

    Attributes:
        id: Id of the document.
        text: Its text.
        labels: Its labels.
        attributes: Its attributes by name.
        code: Its packed code, bits / 8 bytes.
        title: Its title, empty where it has none.
    """

    id: str
    text: str
    labels: list[str]
    attributes: dict[str, Value]
    code: bytes
    title: str = ""


def check_model(model: Any) -> None:
    """Raise :class:`UsageError` unless this is a model, such as the name of one, which has to be loaded first."""
    from texthash.models.hasher import Hasher

    if not isinstance(model, Hasher):
        remedy = f"load it: texthash.load({model!r})." if isinstance(model, str) else "give what texthash.load returns."
        raise UsageError(f"model is a {type(model).__name__}.", remedy)


def encode_documents(
    model: Hasher,
    texts: Iterable[str] | None,
    *,
    vectors: Any = None,
    ids: Iterable[str | int] | None = None,
    labels: Iterable[Any] | None = None,
    attributes: Iterable[Mapping[str, Any] | None] | None = None,
    titles: Iterable[str | None] | None = None,
    keywords: KeywordAnalysis = "english",
    weights: WordWeights | None = None,
) -> MemoryShard:
    """Return documents and their codes; the arguments are those of :class:`texthash.local.index.Index`.

    Raises:
        UsageError: As the index.
    """
    if texts is None and vectors is None:
        raise UsageError("there are neither texts nor vectors.", "give texts, vectors=..., or both.")
    documents = [""] * count_of(vectors) if texts is None else as_texts(texts)
    names = [str(number) for number in range(len(documents))] if ids is None else as_ids(ids)
    if len(names) != len(documents):
        raise UsageError(f"there are {len(names)} ids for {len(documents)} texts.", "give one id for each text.")
    check_ids(names)
    headed = as_titles(titles, len(documents))
    read = model.read(documents, features=vectors)
    kept = as_labels(labels, len(documents)) or [[] for _ in documents]
    own = as_attributes(attributes, len(documents)) or [{} for _ in documents]
    if read.categories is not None:
        own = _with_categories(own, read.categories)
    encoded = MemoryDocuments(names, documents, headed, kept, own, model.binarize(read.values), read.known)
    return MemoryShard(encoded, keywords, weights=weights)


def _with_categories(attributes: list[dict[str, Value]], categories: NDArray[np.int64]) -> list[dict[str, Value]]:
    """Return attributes with the category of each document, -1 for none, in place of one that came with them."""
    from texthash.api.attributes import CATEGORY

    written = [{} if category < 0 else {CATEGORY: str(category)} for category in categories.tolist()]
    return [
        {name: value for name, value in own.items() if name != CATEGORY} | more
        for own, more in zip(attributes, written, strict=True)
    ]
