"""Types of the attributes of a corpus, whose parts are read independently of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from texthash.api.attributes import AttributeType, to_json, type_of
from texthash.corpora.document import Document
from texthash.errors import CorpusError


@dataclass(frozen=True)
class SeenType:
    """Type of an attribute, and the first document that has it.

    Attributes:
        type: Type of its value there.
        origin: Position of the document in the source.
    """

    type: AttributeType
    origin: str


def see_types(seen: dict[str, SeenType], documents: Iterable[Document]) -> None:
    """Add the types of attributes that documents have.

    Raises:
        CorpusError: A document has a value of another type than the ones before.
    """
    for document in documents:
        for name, value in (document.attributes or {}).items():
            here = SeenType(type_of(value), document.origin or document.id)
            _check(name, seen.setdefault(name, here), here)


def joined_types(
    parts: Iterable[Mapping[str, SeenType]], wanted: Sequence[str], columns: Sequence[str]
) -> dict[str, AttributeType]:
    """Return the types of all parts.

    Args:
        parts: Types that each part has seen.
        wanted: Names of the attributes of the corpus.
        columns: The same as the configuration has them.

    Raises:
        CorpusError: Two parts disagree, or no document has one of the attributes.
    """
    seen: dict[str, SeenType] = {}
    for part in parts:
        for name, here in part.items():
            _check(name, seen.setdefault(name, here), here)
    if absent := [name for name in wanted if name not in seen]:
        raise CorpusError(
            f"corpus.attributes=[{', '.join(columns)}], but no document has a value of {absent[0]}.",
            "name columns of corpus.path as they are written there; other corpora have no attributes.",
        )
    return {name: seen[name].type for name in wanted}


def attribute_column(documents: Sequence[Document]) -> pa.Array:
    """Return the attributes of documents as a column of JSON."""
    return pa.array([to_json(document.attributes or {}) for document in documents], pa.string())


def _check(name: str, known: SeenType, here: SeenType) -> None:
    if known.type != here.type:
        raise CorpusError(
            f"{here.origin}: {name} is a {here.type}, but a {known.type} in {known.origin}.",
            f"an attribute has one type: correct the row, or state the type, corpus.attributes=[{name}:string].",
        )
