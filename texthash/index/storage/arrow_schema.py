"""Arrow schema of a shard, and conversion of its columns to and from arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from texthash.api.attributes import CATEGORY, AttributeType, Value, from_json, to_json
from texthash.config import KeywordAnalysis
from texthash.index.filters.columns import ARROW, array_of, type_of_arrow
from texthash.index.keywords.weights import WordWeights

VECTOR = "vector"
DEFAULT_WEIGHTS = WordWeights()
# True if a word of the document is in the vocabulary; a document without one is never returned as a neighbour. Null
# counts as true: older indexes do not have this column.
KNOWN = "known_words"
# Words of title and text for keyword search; the metadata of the field names their analysis and weights.
WORDS = "words"
_ANALYSIS, _WEIGHTS = b"analysis", b"weights"
# Begins the name of the column of each attribute, which no other column does.
ATTRIBUTE = "@"
# Name of the field that stands for all attributes of a document.
ATTRIBUTES = "attributes"
# Columns that do not depend on the model.
CONTENT = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("labels", pa.list_(pa.string())),
    ]
)


def schema(bits: int, vector_width: int = 0) -> pa.Schema:
    """Return the schema of the dataset of a shard, without a vector column if ``vector_width`` is 0."""
    columns = CONTENT.append(pa.field("code", pa.binary(bits // 8), nullable=False))
    columns = columns.append(pa.field(KNOWN, pa.bool_()))
    if vector_width:
        columns = columns.append(pa.field(VECTOR, pa.list_(pa.float16(), vector_width), nullable=False))
    return columns


def attribute_fields(types: Mapping[str, AttributeType]) -> list[pa.Field]:
    """Return the fields of the columns of attributes."""
    return [pa.field(ATTRIBUTE + name, ARROW[kind]) for name, kind in types.items()]


def attribute_columns(columns: pa.Schema) -> list[str]:
    """Return the names of the columns of attributes that a schema has."""
    return [name for name in columns.names if name.startswith(ATTRIBUTE)]


def attribute_types(columns: pa.Schema) -> dict[str, AttributeType]:
    """Return the type of each attribute that a schema has, by its name."""
    names = attribute_columns(columns)
    return {name.removeprefix(ATTRIBUTE): type_of_arrow(columns.field(name).type) for name in names}


def with_attributes(
    rows: pa.Table, attributes: Sequence[Mapping[str, Value]], types: Mapping[str, AttributeType]
) -> pa.Table:
    """Return rows with the columns of their attributes: of those types that one of the rows has a value of."""
    for name, kind in types.items():
        values = [own.get(name) for own in attributes]
        if any(value is not None for value in values):
            rows = rows.append_column(pa.field(ATTRIBUTE + name, ARROW[kind]), array_of(values, kind))
    return rows


def read_stored(column: pa.ChunkedArray) -> list[dict[str, Value]]:
    """Return the attributes of each row of a column of JSON, as prepared corpora and exports hold them."""
    return [from_json(own) for own in column.to_pylist()]


def written(attributes: Sequence[Mapping[str, Value]]) -> pa.Array:
    """Return attributes as a column of JSON; null for a row without any."""
    return pa.array([to_json(own) for own in attributes], pa.string())


def fitting(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Return rows in the order of the columns of a schema, with null for the attributes that none of them has."""
    for name in attribute_columns(columns):
        if name not in rows.schema.names:
            rows = rows.append_column(columns.field(name), pa.nulls(len(rows), columns.field(name).type))
    return rows.select(columns.names)


def take_attributes(row: dict[str, Any]) -> dict[str, Value]:
    """Remove the columns of attributes from a row, and return the attributes by name, without missing ones."""
    names = [name for name in row if name.startswith(ATTRIBUTE)]
    taken = ((name.removeprefix(ATTRIBUTE), row.pop(name)) for name in names)
    return {name: value for name, value in taken if value is not None}


def words_field(analysis: KeywordAnalysis, weights: WordWeights = DEFAULT_WEIGHTS) -> pa.Field:
    """Return the field of the words of documents, analysed in one way, and weighted by the parts of the document."""
    metadata = {_ANALYSIS: analysis, _WEIGHTS: json.dumps(asdict(weights))}
    return pa.field(WORDS, pa.list_(pa.string()), metadata=metadata)


def analysis_of(dataset_schema: pa.Schema) -> KeywordAnalysis | None:
    """Return how the words of a dataset are analysed; None if it has none."""
    if WORDS not in dataset_schema.names:
        return None
    return cast("KeywordAnalysis", (dataset_schema.field(WORDS).metadata or {}).get(_ANALYSIS, b"english").decode())


def weights_of(dataset_schema: pa.Schema) -> WordWeights | None:
    """Return the weights of the words of a dataset; None if it has none, or words without weights (before format 7)."""
    if WORDS not in dataset_schema.names:
        return None
    found = (dataset_schema.field(WORDS).metadata or {}).get(_WEIGHTS)
    return None if found is None else WordWeights(**json.loads(found))


def with_words(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Return rows with the words of their title and text, in the form of the words of a schema."""
    from texthash.index.keywords.analysis import keyword_analyzer, repeated_text

    analyzer = keyword_analyzer(analysis_of(columns) or "english")
    titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
    if weights_of(columns) is None:
        words = analyzer.column(list(map(repeated_text, titles, texts)))
    else:
        words = analyzer.documents(titles, texts)
    return rows.append_column(columns.field(WORDS), words)


@dataclass(frozen=True)
class Coded:
    """Codes and vectors of N documents by a model.

    Attributes:
        codes: Codes, uint8 [N, bits / 8].
        known: True for each document with a word in the vocabulary, bool [N]; None means all of them.
        vectors: Vectors, float16 [N, width]; None in an index without vectors.
        categories: Category of each document, int64 [N], -1 of one without; None of a model without categories.
    """

    codes: NDArray[np.uint8]
    known: NDArray[np.bool_] | None = None
    vectors: NDArray[np.float16] | None = None
    categories: NDArray[np.int64] | None = None

    def at(self, rows: list[int] | slice) -> Coded:
        """Return the codes and vectors of some of the documents."""
        known, vectors, categories = self.known, self.vectors, self.categories
        return Coded(
            self.codes[rows],
            None if known is None else known[rows],
            None if vectors is None else vectors[rows],
            None if categories is None else categories[rows],
        )

    @property
    def attributes(self) -> dict[str, AttributeType]:
        """Types of the attributes that the model writes."""
        return {} if self.categories is None else {CATEGORY: "string"}


def with_codes(content: pa.Table, coded: Coded) -> pa.Table:
    """Return documents as rows of a shard, in the form of :func:`schema`.

    Args:
        content: Columns of :data:`CONTENT`, and of attributes, N rows.
        coded: Codes and vectors of the same documents.
    """
    known = np.ones(len(coded.codes), np.bool_) if coded.known is None else coded.known
    rows = content.select(CONTENT.names).append_column("code", codes_column(coded.codes))
    rows = rows.append_column(KNOWN, pa.array(known, pa.bool_()))
    if coded.vectors is not None:
        rows = rows.append_column(VECTOR, vectors_column(coded.vectors))
    rows = rows.cast(schema(8 * coded.codes.shape[1], 0 if coded.vectors is None else coded.vectors.shape[1]))
    for name in attribute_columns(content.schema):
        rows = rows.append_column(content.schema.field(name), content[name])
    return rows if coded.categories is None else _with_categories(rows, coded.categories)


def _with_categories(rows: pa.Table, categories: NDArray[np.int64]) -> pa.Table:
    """Return rows with their categories as an attribute, in place of one that came with them."""
    name = ATTRIBUTE + CATEGORY
    kept = rows.drop_columns([name]) if name in rows.schema.names else rows
    values = [None if category < 0 else str(category) for category in categories.tolist()]
    return kept.append_column(pa.field(name, pa.string()), pa.array(values, pa.string()))


def known_of(rows: pa.Table | pa.RecordBatch) -> NDArray[np.bool_]:
    """Return true for each row with a word in the vocabulary, bool [N]. A missing or null value counts as true."""
    if KNOWN not in rows.schema.names:
        return np.ones(rows.num_rows, np.bool_)
    return np.asarray(rows.column(KNOWN).fill_null(True).to_numpy(zero_copy_only=False), np.bool_)


def codes_of(column: pa.ChunkedArray | pa.Array, bits: int) -> NDArray[np.uint8]:
    """Return the codes in a column of fixed-size binaries without nulls, uint8 [N, bits / 8]."""
    width = bits // 8
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        if len(chunk)
    ]
    return np.concatenate(chunks).reshape(-1, width) if chunks else np.empty((0, width), np.uint8)


def codes_column(codes: NDArray[np.uint8]) -> pa.Array:
    """Return codes, uint8 [N, bits / 8], as a column of fixed-size binaries."""
    packed = pa.py_buffer(np.ascontiguousarray(codes).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(codes.shape[1]), len(codes), [None, packed])


def vectors_of(column: pa.ChunkedArray) -> NDArray[np.float16]:
    """Return the vectors in a column of fixed-size lists, float16 [N, width]."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def vectors_column(vectors: NDArray[np.float16]) -> pa.Array:
    """Return vectors, float16 [N, width], as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float16()), vectors.shape[1])
