"""Configuration of corpora and their editions."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from texthash.api.attributes import MAX_ATTRIBUTES, AttributeColumn
from texthash.config.pattern_time import USUAL, check_time
from texthash.config.section import LISTED_ONCE, VARIABLES, Section, Seed, check_listed_once

Weighting = Literal["tfidf", "sublinear_tfidf", "binary_tfidf", "binary", "counts", "bm25", "unit_bm25"]
_DATA = "TEXTHASH_DATA"
VARIABLES["corpus.data_dir"] = _DATA


def _count_or_share(value: int | float) -> int | float:
    if isinstance(value, float) and value > 1:
        raise ValueError("a count is a whole number, a share is a number from 0 to 1")
    return value


CountOrShare = Annotated[int | float, Field(ge=0), AfterValidator(_count_or_share)]


class SplitRule(Section):
    """Division of documents into train, validation and test."""

    kind: Literal["given", "random", "halve_test"] = Field(
        "random",
        description="given: the corpus' own three splits; random: by seed, ignoring the corpus' own; "
        "halve_test: the corpus' train, its test divided into validation and test",
    )
    train: float = Field(0.6, gt=0, lt=1, description="share of train, for kind=random")
    validation: float = Field(0.2, gt=0, lt=1, description="share of validation, for kind=random")
    seed: Seed = 0

    @model_validator(mode="after")
    def _shares_leave_a_test(self) -> SplitRule:
        if self.train + self.validation >= 1:
            raise ValueError("train and validation leave nothing for test")
        return self


class Edition(Section):
    """Preparation of a corpus. Results are only comparable within one corpus and edition."""

    name: str = Field("random60", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    split: SplitRule = SplitRule()
    sample: int | None = Field(
        None, ge=1, description="largest number of documents, sampled by split.seed before the split; null: all"
    )
    strip: Annotated[tuple[Literal["headers", "footers", "quotes"], ...], LISTED_ONCE] = Field(
        (), description="20newsgroups only"
    )
    label_set: str | None = Field(
        None, description="name of a label set, if a corpus has several (`texthash corpora show`); null: its default"
    )
    lowercase: bool = True
    token_pattern: str = USUAL
    stop_words: Literal["english"] | None = "english"
    stemmer: Literal["porter"] | None = None
    identifier_parts: bool = Field(
        False,
        description="count parts of identifiers as words too: read_csv also as read and csv, TextFileReader also as "
        "text, file and reader; a token_pattern then sees capitals",
    )
    vocabulary_size: int | None = Field(10_000, ge=1, description="number of most frequent words of train; null: all")
    min_df: CountOrShare = Field(1, description="drop rarer words: a count, or a share of train documents")
    max_df: CountOrShare = Field(1.0, description="drop more frequent words: a count, or a share")
    min_tokens: int = Field(1, ge=0, description="documents with fewer vocabulary words are left out (counted)")
    max_tokens: int | None = Field(None, ge=1, description="documents with more are left out (counted)")

    @field_validator("token_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            check_time(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _leaves_documents(self) -> Edition:
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens={self.min_tokens} is above max_tokens={self.max_tokens}")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual_words(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``identifier_parts`` if it is off, so that records and digests from before this key stay valid."""
        values: dict[str, Any] = serialize(self)
        if not self.identifier_parts:
            values.pop("identifier_parts", None)
        return values


class ColumnNames(Section):
    """Columns of the tables of ``corpus.path`` that have other names than the usual ones."""

    id: str | None = Field(None, min_length=1, description="column of the id; null: id, or else file and line")
    labels: str | None = Field(
        None, min_length=1, description="column of the labels, lists or names joined by |; null: labels or label"
    )
    title: str | None = Field(None, min_length=1, description="column of the title; null: title")
    split: str | None = Field(None, min_length=1, description="column of the split; null: split")

    @model_validator(mode="after")
    def _differ(self) -> ColumnNames:
        fields: dict[str, str] = {}
        for field, column in self:
            if column is not None and fields.setdefault(column, field) != field:
                raise ValueError(f"{column!r} is the column of {fields[column]} and of {field}")
        return self


def _as_list(value: Any) -> Any:
    """Convert a single name, or a list of names as JSON has it, into a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class CorpusConfig(Section):
    """Choice of the corpus, its edition, and the vectors of its documents."""

    name: str = Field("pydoc", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: str | None = Field(
        None,
        description="file or folder of your own corpus: JSONL, JSON, CSV, TSV, Parquet or a folder of text; a dataset "
        "of the Hugging Face Hub, hf://owner/name@revision?config=NAME&split=train,test; or a test collection by its "
        "name in ir_datasets, ir_datasets:beir/scifact",
    )
    text: Annotated[tuple[str, ...], BeforeValidator(_as_list), LISTED_ONCE] = Field(
        ("text",),
        min_length=1,
        description="columns of corpus.path that are encoded, joined by line breaks, such as [title, text]; the "
        "title alone is shown, never encoded",
    )
    columns: ColumnNames = ColumnNames()
    attributes: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (),
        max_length=MAX_ATTRIBUTES,
        description="columns of corpus.path that documents keep as attributes, to filter and sort by, such as "
        "[year, published:date]: NAME or NAME:TYPE with the type string, number, boolean or date; without one the type "
        "is that of the values in JSON and Parquet, and string in CSV and TSV",
    )
    format: Literal["rows", "dpr", "answers", "beir"] | None = Field(
        None,
        description="format of corpus.path: rows (or a folder of text), questions with passages in the JSON of DPR, "
        "tables of answer selection, or a test collection in the layout of BEIR; null: detected",
    )
    data_dir: str | None = Field(None, description="directory of the official files; null: TEXTHASH_DATA")
    edition: Edition = Edition()
    shards: int = Field(8, ge=1, description="Parquet files per split, whatever the number of workers")
    features: str | None = Field(
        None,
        description="source of vectors for methods that learn from them. A sentence encoder: minilm, a folder, "
        "owner/name; minilm[128] truncates texts after 128 word pieces. Your own: column:NAME of your tables, npy:FILE "
        "beside them. An embedder: openai:MODEL@URL or tei:URL, with #VARIABLE for the variable that holds its key",
    )
    features_of: Literal["all", "train"] = Field(
        "all",
        description="documents whose vectors an encoder or embedder computes: all; or train, for a model of words that "
        "only learns from vectors (method.params.teacher=features)",
    )
    limit: int | None = Field(None, ge=1, description="number of first documents to use, for a quick trial; null: all")

    @field_validator("attributes")
    @classmethod
    def _name_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_listed_once([AttributeColumn.parse(column).name for column in value])
        return value

    @property
    def attribute_columns(self) -> tuple[AttributeColumn, ...]:
        """Columns of the attributes, with their types."""
        return tuple(AttributeColumn.parse(column) for column in self.attributes)

    @model_serializer(mode="wrap")
    def _without_the_usual(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have their default, so that records and digests from before these keys stay valid."""
        values: dict[str, Any] = serialize(self)
        for name in ("text", "columns", "attributes", "features_of"):
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values
