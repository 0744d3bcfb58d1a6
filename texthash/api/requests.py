"""Request bodies of the HTTP API."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from texthash.api.attributes import Attributes
from texthash.api.body import Body, DocumentField, Integer, Text, name_keys, unicode_text, whole, without_repeats
from texthash.api.facets import Facets
from texthash.api.filters import BoundedFilter

MAX_ID = 512
"""Maximum number of characters of a document id."""
MAX_VECTOR = 16_384
"""Maximum number of components of a vector."""
SNAPSHOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _all_unicode(value: str | list[str]) -> str | list[str]:
    for text in [value] if isinstance(value, str) else value:
        unicode_text(text)
    return value


# Bounds stand before the other check: behind it a string that is too long would have too many "items".
FilledText = Annotated[str, Field(min_length=1), AfterValidator(unicode_text)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(unicode_text)]
Title = Annotated[str, Field(max_length=10_000), AfterValidator(unicode_text)]
Vector = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]],
    Field(min_length=1, max_length=MAX_VECTOR, fail_fast=True),
]
Label = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(unicode_text)]


def exactly_one(**types: str) -> dict[str, Any]:
    """Return the JSON schema of an object with exactly one of these members, given by type; others null or absent."""
    return {
        "oneOf": [
            {"required": [name], "properties": {other: {"type": "null"} for other in types} | {name: {"type": type_}}}
            for name, type_ in types.items()
        ]
    }


class Query(Body):
    """One query: exactly one of text, code, id and vector."""

    model_config = ConfigDict(json_schema_extra=exactly_one(text="string", code="string", id="string", vector="array"))

    text: Text | None = Field(None, description="Raw text; the model encodes it as a query.")
    code: str | None = Field(None, description="Packed code: bits / 4 hexadecimal digits, most significant bit first.")
    id: Text | None = Field(None, description="Id of a document of the index, whose stored code is searched for.")

    vector: Vector | None = Field(
        None,
        description="Vector of the query, by the embedder whose vectors the model learned from and of their width.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Query:
        given = [name for name in ("text", "code", "id", "vector") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of text, code, id and vector, not {', '.join(given) or 'none'}")
        return self


class Plan(Body):
    """Search strategy."""

    plan: Literal["auto", "flat", "mih"] = Field(
        "auto",
        description="flat: compare with every code; mih: multi-index hashing; auto: the one expected to be faster. "
        "All give the same exact results.",
    )


RescoringKind = Literal["none", "asymmetric", "float"]


class Rescore(Body):
    """Second, finer order of the nearest documents."""

    kind: RescoringKind | None = Field(
        None,
        description="none: by distance. asymmetric: by the query's activations against the codes of the documents: the "
        "sum of the activations where a document has a 1, minus the sum where it has a 0. A query by code or id has no "
        "activations and keeps the order of the distance. float: by the cosine between the query's vector and the "
        "document's, which the index stores if /v1/info shows index.vectors; a query by id takes the vector of its "
        "document, and a query by code is rejected. null: what was chosen for the release, see "
        "search_defaults of /v1/info; none within a radius.",
    )
    oversample: Integer = Field(
        4,
        ge=1,
        description="The nearest oversample * limit documents are reordered, later ones follow by distance; at most "
        "limits.max_oversample of /v1/info, and oversample * limit at most limits.max_window. The default is less "
        "where limits.max_hits allows less to each of many queries.",
    )


GainKind = Literal["scores", "ranks"]


class Fusion(Body):
    """How the two lists of a hybrid search become one.

    A document has the score w * its gain in the list by meaning + (1 - w) * its gain in the list by words; the first
    document of a list has the gain 1, one that the list does not contain 0.
    """

    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share w of the meaning. null: the weight of the release, which was chosen on its validation "
        "documents.",
    )
    kind: GainKind | None = Field(
        None,
        description="Gains in a list. scores: the score of a document as a share of that of the first; by words BM25, "
        "by meaning the score of the rescoring, or half of the bits less the distance. ranks: (constant + 1) / "
        "(constant + rank). null: ranks if a constant is given, else the kind of the release.",
    )
    constant: float = Field(
        10.0, ge=1, le=1000, description="Constant of kind ranks: larger values make the ranks count more alike."
    )
    depth: Integer = Field(
        100,
        ge=1,
        description="Documents of each list that are fused, or limit + offset if these are more; at most "
        "limits.max_window. The default is less where limits.max_hits allows less to each of many queries.",
    )


Mode = Literal["hybrid", "semantic", "keyword"]


def resolved_order(
    mode: Mode | None,
    kind: RescoringKind | None,
    *,
    texts: bool,
    radius: int | None,
    keywords: bool,
    rescoring: Literal["none", "asymmetric"] = "none",
) -> tuple[Mode, RescoringKind]:
    """Return mode and kind of rescoring of a search.

    Args:
        mode: Mode of the request; None for hybrid where all queries are texts without a radius, and there are words.
        kind: Kind of rescoring of the request; None for that of the index, none within a radius.
        texts: True if all queries are texts.
        radius: Radius of the request.
        keywords: True if the index has words.
        rescoring: Kind of rescoring that was chosen for the index.
    """
    if mode is None:
        mode = "hybrid" if keywords and texts and radius is None else "semantic"
    return mode, kind or (rescoring if radius is None and mode != "keyword" else "none")


class SearchRequest(Body):
    """Search with one or several queries, which share all other members."""

    model_config = ConfigDict(json_schema_extra=name_keys)

    queries: list[Query] = Field(min_length=1, description="Queries; at most limits.max_batch of /v1/info.")
    mode: Mode | None = Field(
        None,
        description="semantic: by the codes, which the model makes of the text; keyword: by the words that query and "
        "document share (BM25); hybrid: both, see fusion. null: hybrid where every query is a text, "
        "radius is not given and /v1/info shows index.keywords; otherwise semantic. keyword needs texts; radius and "
        "rescore concern the search by meaning.",
    )
    fusion: Fusion = Field(default_factory=Fusion)
    limit: Integer = Field(10, ge=1, description="Hits per query; at most limits.max_limit of /v1/info.")
    offset: Integer = Field(0, ge=0, description="Hits to skip; limit + offset at most limits.max_window.")
    # The bound is on the integer: a bound on the union would not appear in the OpenAPI document.
    radius: Annotated[int, Field(ge=0), BeforeValidator(whole)] | None = Field(
        None, description="Maximum Hamming distance of a hit; at most the number of bits."
    )
    filter: BoundedFilter | None = None
    params: Plan = Field(default_factory=Plan)
    rescore: Rescore = Field(default_factory=Rescore)
    fields: Annotated[list[DocumentField], FailFast(), AfterValidator(without_repeats)] = Field(
        ["title"], max_length=16, description="Fields of the document to return with each hit; repeats count once."
    )
    facets: Facets | None = Field(
        None,
        description="Return with each result the counts of labels and attributes over all documents that the filter "
        "keeps, in a search by keyword over those of them that have a word of the query, and within a radius over "
        "those in it. Keys are names of attributes, or labels.",
    )
    include_code: bool = Field(False, description="Return the code of each hit.")
    highlight: bool = Field(
        False, description="Return with each hit the words of its returned title and text that are words of the query."
    )
    rerank: bool = Field(
        False,
        description="Order the first hits of each query, which are texts, again by the re-ranker of the service; "
        "/v1/info shows reranker, and how many hits it reads.",
    )
    allow_partial: bool = Field(
        False,
        description="Where a shard is unavailable, answer from the others and list it in missing_shards.",
    )

    @property
    def rescored(self) -> bool:
        """True if hits have scores."""
        return self.rescore.kind not in (None, "none")

    @property
    def oversample(self) -> int:
        """Number of nearest codes to find for each hit by meaning."""
        return self.rescore.oversample if self.rescored else 1

    @property
    def window(self) -> int:
        """Number of nearest codes to find for each query, from which its page is taken."""
        if self.mode == "hybrid":
            return self.depth * self.oversample
        return max(self.limit * self.oversample, self.limit + self.offset)

    @property
    def depth(self) -> int:
        """Number of documents of each list of a hybrid or keyword search."""
        return max(self.fusion.depth if self.mode == "hybrid" else 1, self.limit + self.offset)

    def resolved(self, *, keywords: bool, rescoring: Literal["none", "asymmetric"] = "none") -> SearchRequest:
        """Return the request with its mode and kind of rescoring.

        Args:
            keywords: True if the index has words.
            rescoring: Kind of rescoring of searches that name none.
        """
        texts = all(query.text is not None for query in self.queries)
        mode, kind = resolved_order(
            self.mode, self.rescore.kind, texts=texts, radius=self.radius, keywords=keywords, rescoring=rescoring
        )
        if (mode, kind) == (self.mode, self.rescore.kind):
            return self
        return self.having(mode=mode, rescore=self.rescore.having(kind=kind))


class EncodeRequest(Body):
    """Texts to encode."""

    inputs: Annotated[
        str | list[str],
        AfterValidator(_all_unicode),
        Field(description="One text or a list of at most limits.max_batch texts (see /v1/info)."),
    ]
    format: Literal["hex", "base64", "bits"] = Field(
        "hex", description="Format of the codes; bits: a string of 0 and 1."
    )
    role: Literal["document", "query"] = Field(
        "document", description="Role of the texts; only models with two encoders treat the two differently."
    )
    return_logits: bool = Field(False, description="Also return the activations, the real values before binarization.")


class NewDocument(Body):
    """Document to insert or replace: a text, a vector, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["text"]},
                {"required": ["vector"], "properties": {"vector": {"not": {"type": "null"}}}},
            ]
        }
    )

    id: Id = Field(description="Id of your choice; an upsert replaces the document that has it.")
    text: FilledText = Field("", description="Raw text, encoded by the model and stored; required without a vector.")
    title: Title = ""
    labels: Annotated[list[Label], FailFast()] = Field([], max_length=256)
    attributes: Attributes = Field(
        {},
        description="Strings, finite numbers, booleans and dates by name; null is the same as absent. The first "
        "value of a name in the index fixes its type: a later value of another type is refused.",
    )
    vector: Vector | None = Field(
        None,
        description="Vector of the document, for a model that learned from vectors of your own or of an HTTP embedder.",
    )


class UpsertRequest(Body):
    """Documents to insert or replace."""

    documents: list[NewDocument] = Field(min_length=1, description="Documents; at most limits.max_batch of /v1/info.")

    @model_validator(mode="after")
    def _ids_differ(self) -> UpsertRequest:
        twice = [id_ for id_, count in Counter(document.id for document in self.documents).items() if count > 1]
        if twice:
            raise ValueError(f"the id {twice[0]!r} occurs more than once")
        return self


class DeleteRequest(Body):
    """Documents to delete: exactly one of ids and filter."""

    model_config = ConfigDict(json_schema_extra=exactly_one(ids="array", filter="object"))

    ids: list[Text] | None = Field(
        None, min_length=1, description="Ids; at most limits.max_batch. Unknown ids are ignored."
    )
    filter: BoundedFilter | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> DeleteRequest:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give exactly one of ids and filter")
        return self


class CountRequest(Body):
    """Documents to count; all without a filter."""

    filter: BoundedFilter | None = None


class EmptyRequest(Body):
    """Object without members."""


class SnapshotRequest(Body):
    """Name for a snapshot of the current state."""

    name: str = Field(max_length=100, json_schema_extra={"pattern": f"^{SNAPSHOT_NAME.pattern}$"})
