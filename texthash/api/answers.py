"""Response bodies of the HTTP API."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from texthash.api.attributes import AttributeType
from texthash.api.facets import FacetCounts
from texthash.api.requests import GainKind

VectorKind = Literal["activations", "features"]
KeywordAnalysis = Literal["english", "plain"]


class FoundBy(BaseModel):
    """Place of a hit in one of the two lists of a hybrid search."""

    rank: int = Field(description="Rank in that list, from 1.")
    score: float | None = Field(
        None, description="Words: BM25 score. Meaning: score of a rescored search; null where it is not rescored."
    )


class Hit(BaseModel):
    """One search hit."""

    id: str
    distance: int | None = Field(
        description="Hamming distance between its code and the query's, 0 to bits; null where the query has no code, "
        "as in a search by keyword, or where no word of query or document is in the vocabulary."
    )
    score: float | None = Field(
        None,
        description="Score by which hits are ordered, larger is nearer: of a rescored search, BM25 of a search by "
        "keyword, 0 to 1 of a hybrid search (see fusion); null where they are ordered by distance.",
    )
    semantic: FoundBy | None = Field(None, description="Hybrid search: its place by meaning; null: not among these.")
    keyword: FoundBy | None = Field(None, description="Hybrid search: its place by words; null: not among these.")
    code: str | None = Field(None, description="Its code as hexadecimal digits, when include_code was set.")
    matches: list[str] | None = Field(
        None,
        description="When highlight was set: the distinct words, and parts of identifiers, of the returned title and "
        "text that are words of the query, as they are written there, in order. Inflected forms are the same word "
        "where /v1/info shows index.keywords english.",
    )
    rerank_score: float | None = Field(
        None,
        description="When rerank was set: score by which the hit is ordered, larger is better; null where the hit is "
        "behind those that the re-ranker reads, or has no text.",
    )
    document: dict[str, Any] = Field(description="The requested fields.")


class Result(BaseModel):
    """Search results of one query."""

    code: str = Field(description="The query's code as hexadecimal digits; empty in a search by keyword.")
    known_words: bool = Field(
        description="false: no word of the text is in the vocabulary; its code is meaningless, and it has no hits by "
        "meaning."
    )
    hits: list[Hit] = Field(
        description="Ordered by distance, then by document number (order of first insertion). With scores: by "
        "descending score, then, in a rescored search, by distance, then by number."
    )
    plan: str | None = Field(description="Search strategy: flat, mih, or both where shards differed.")
    candidates: int = Field(description="Number of codes compared with the query.")
    total_within_radius: int | None = Field(description="Number of documents within the radius, if one was given.")
    facets: FacetCounts | None = Field(None, description="Facets, if some were requested.")


class SearchReply(BaseModel):
    """Search results in the order of the queries, all from one release."""

    mode: Literal["hybrid", "semantic", "keyword"]
    results: list[Result]
    partial: bool = Field(
        description="true: shards were unavailable; their documents are missing from hits and totals."
    )
    missing_shards: list[int] = Field(description="Unavailable shards; empty unless allow_partial was set.")
    took_ms: float = Field(description="Time in the server in ms; the Server-Timing header gives its parts.")
    plan: str = Field(description="Search strategies: flat, mih, or both, joined by +; none if nothing was searched.")
    release: str = Field(description="Name of the release that answered.")
    index_version: int = Field(description="Number of that release.")
    bits: int


class ModelReference(BaseModel):
    """Model that made a code."""

    name: str
    version: str | None
    digest: str


class EncodeReply(BaseModel):
    """Codes, in the order of the inputs."""

    codes: list[str]
    known_words: list[bool] = Field(
        description="false: no word of the text is in the vocabulary; its code is that of no words."
    )
    logits: list[list[float]] | None = Field(description="[inputs][bits], when return_logits was set.")
    bits: int
    bitorder: Literal["big"] = Field("big", description="Most significant bit of each byte first, as numpy.packbits.")
    model: ModelReference
    release: str
    took_ms: float


class ModelInfo(ModelReference):
    """Model that is served."""

    run: str | None = Field(description="Tracking run in which it was trained.")
    method: str
    bits: int
    corpus: str
    edition: str
    vocabulary_hash: str


class VectorsInfo(BaseModel):
    """Vectors that the index stores beside the codes, for rescore.kind float."""

    kind: VectorKind = Field(
        description="activations: the model's real values before binarization; features: vectors of the source "
        "that the model learned from."
    )
    width: int


class SearchDefaultsInfo(BaseModel):
    """Order of hybrid searches, chosen for the release by known-item search.

    Queries are the first sentences or titles of validation documents, which are searched for without these.
    """

    weight: float = Field(description="Weight of the meaning.")
    rescoring: Literal["none", "asymmetric"] = Field(description="Order of the hits by meaning.")
    queries: int = Field(description="Number of these queries.")
    semantic: float = Field(description="Their mean reciprocal rank at 10 by meaning.")
    keyword: float = Field(description="The same by words.")
    hybrid: float = Field(description="The same by both.")
    fusion: GainKind = Field(description="Gains of which both lists are fused.")


class IndexInfo(BaseModel):
    """Index that is served."""

    kind: Literal["flat+mih"] = Field("flat+mih", description="Search strategies that the index supports.")
    documents: int
    shards: int
    vectors: VectorsInfo | None = Field(description="null: the index stores no vectors.")
    chance_distance: int | None = Field(
        None,
        description="Median distance from texts of random words of the documents to their nearest document: a query "
        "whose nearest document is farther has found nothing close. null: not known yet, or no text is stored.",
    )
    keywords: KeywordAnalysis | None = Field(
        description="Analysis of the words for keyword and hybrid search; null: the index stores no words."
    )
    attributes: dict[str, AttributeType] = Field(
        {}, description="Type of each attribute that a document of the index has had: string, number, boolean or date."
    )
    search_defaults: SearchDefaultsInfo | None = Field(description="null: none were chosen for this release.")


class ReleaseInfo(BaseModel):
    """Release that is served."""

    name: str
    index_version: int
    created: str
    commit: str | None


class Limits(BaseModel):
    """Limits of this server; each is set by the configuration or by TEXTHASH_<NAME>."""

    max_batch: int
    max_text_bytes: int
    max_body_bytes: int
    max_limit: int
    max_window: int = Field(description="Maximum of limit + offset, and of limit * rescore.oversample.")
    max_hits: int = Field(description="Maximum of the same, times the number of queries.")
    max_oversample: int = Field(description="Maximum of rescore.oversample.")
    request_timeout_s: float
    max_ongoing_requests: int
    max_queued_requests: int
    max_pending_bytes: int
    min_free_bytes: int = Field(description="Writes are refused while less disk space is free.")


class RerankerInfo(BaseModel):
    """Model that re-ranks hits on request."""

    name: str = Field(description="Method and bits of the model, or cross-encoder: and its name.")
    candidates: int = Field(description="Number of first hits of a query that it orders again.")


class Info(BaseModel):
    """Release, model, index and limits of a service."""

    name: Literal["texthash"] = "texthash"
    version: str
    release: ReleaseInfo
    model: ModelInfo
    index: IndexInfo
    reranker: RerankerInfo | None = Field(None, description="null: this server does not re-rank.")
    limits: Limits


class ShardsReady(BaseModel):
    """Number of shards that answer."""

    ready: int
    total: int


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok", "unavailable"]
    encoder: bool | None = None
    shards: ShardsReady | None = None
    missing: list[str] = Field(
        [],
        description="Deployments that do not answer, and `follower` where the served release lags behind the current "
        "one.",
    )
    writes: Literal["accepted", "refused"] | None = Field(
        None,
        description="refused: too little disk space is free, or it cannot be written; searches continue. null: the "
        "server is read-only.",
    )
    writes_refused: str | None = Field(None, description="Reason for which writes are refused.")
    audit: Literal["written", "failing"] | None = Field(
        None,
        description="failing: the last write left no audit line, and stands; see audit_failure. null: the server is "
        "read-only.",
    )
    audit_failure: str | None = Field(None, description="Reason for which the last write left no audit line.")
    release: str | None = Field(None, description="Name of the release that is served.")
    lag_s: float | None = Field(
        None,
        description="Seconds since the served release was last known to be the current one; null where the service "
        "is pinned to one release.",
    )
    reason: str | None = Field(None, description="Reason for which the service does not follow the current release.")


class UpsertReply(BaseModel):
    """Result of a durable upsert."""

    upserted: int
    new: int = Field(description="Number of documents that the index did not hold before.")
    without_known_words: int = Field(
        0,
        description="Number of documents without a word of the vocabulary; they are stored, but no search finds them.",
    )
    release: str = Field(description="Name of the release that holds the write.")
    index_version: int = Field(description="Number of that release; answers from this or a later one see the write.")


class DeleteReply(BaseModel):
    """Result of a durable deletion."""

    deleted: int
    release: str
    index_version: int


class StoredDocument(BaseModel):
    """Document of the index."""

    id: str
    title: str
    text: str
    labels: list[str]
    attributes: dict[str, Any] = Field(
        {},
        description="Its attributes by name: strings, numbers, booleans, and dates as an object with the member date.",
    )
    code: str = Field(description="Its code as hexadecimal digits, most significant bit first.")
    known_words: bool = Field(
        True, description="false: no word of the document is in the vocabulary, and no search finds it by its meaning."
    )
    index_version: int


class CountReply(BaseModel):
    """Number of documents."""

    count: int
    index_version: int


class SnapshotInfo(BaseModel):
    """Named state of the index."""

    name: str
    release: str
    created: str


class Snapshots(BaseModel):
    """All snapshots, oldest first."""

    snapshots: list[SnapshotInfo]


class CompactReply(BaseModel):
    """Result of a compaction: the same documents in fewer files."""

    documents: int
    release: str
    index_version: int


class RestoreReply(BaseModel):
    """Result of restoring a snapshot."""

    documents: int
    release: str
    index_version: int
