"""Bodies of answers, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

VectorKind = Literal["activations", "features"]


class Hit(BaseModel):
    """A document that was found."""

    id: str
    distance: int = Field(description="Bits in which its code differs from the query's, 0 to bits.")
    score: float | None = Field(None, description="Where the search was rescored: the larger, the nearer.")
    code: str | None = Field(None, description="Its code in hexadecimal digits, when include_code was set.")
    document: dict[str, Any] = Field(description="The fields that were asked for.")


class Result(BaseModel):
    """The answer to one query."""

    code: str = Field(description="The query's code, in hexadecimal digits.")
    known_words: bool = Field(
        description="false: a text of which the model knows no word. It has no meaningful code, and no hits."
    )
    hits: list[Hit] = Field(
        description="By distance, equal distances by document number (order of first insert); rescored: by score, from "
        "the largest on, equal scores by distance, then number."
    )
    plan: str | None = Field(description="How its code was searched for: flat, mih, or both, where shards differed.")
    candidates: int = Field(description="Codes that were met on the way to the answer.")
    total_within_radius: int | None = Field(description="Documents within the radius, if one was given.")


class SearchReply(BaseModel):
    """The answers, in the order of the queries, all from one release."""

    results: list[Result]
    partial: bool = Field(description="true: shards were away, whose documents are missing from hits and totals.")
    missing_shards: list[int] = Field(description="The shards that were away; empty unless allow_partial was set.")
    took_ms: float = Field(description="Time in the server; the Server-Timing header divides it.")
    plan: str = Field(description="How the codes were searched: flat, mih, or both, joined by +; none for no search.")
    release: str = Field(description="The release that answered.")
    index_version: int = Field(description="Its number.")
    bits: int


class ModelReference(BaseModel):
    """Which model made a code."""

    name: str
    version: str | None
    digest: str


class EncodeReply(BaseModel):
    """Codes, in the order of the inputs."""

    codes: list[str]
    known_words: list[bool] = Field(description="false: the model knows no word of it; the code is that of no words.")
    logits: list[list[float]] | None = Field(description="[inputs][bits], when return_logits was set.")
    bits: int
    bitorder: Literal["big"] = Field("big", description="Most significant bit of each byte first, as numpy.packbits.")
    model: ModelReference
    release: str
    took_ms: float


class ModelInfo(ModelReference):
    """The model that is served."""

    run: str | None = Field(description="Tracking run that made it.")
    method: str
    bits: int
    corpus: str
    edition: str
    vocabulary_hash: str


class VectorsInfo(BaseModel):
    """What the index keeps of each document beside its code, for rescore.kind float."""

    kind: VectorKind = Field(
        description="activations: the model's real values before their cut to bits; features: vectors of its sentence "
        "encoder."
    )
    width: int


class IndexInfo(BaseModel):
    """The index that is served."""

    kind: Literal["flat+mih"] = Field("flat+mih", description="The plans that a search may take.")
    documents: int
    shards: int
    vectors: VectorsInfo | None = Field(description="null: none are kept.")


class ReleaseInfo(BaseModel):
    """The release that is served."""

    name: str
    index_version: int
    created: str
    commit: str | None


class Limits(BaseModel):
    """What this server allows; each is set by configuration or by TEXTHASH_<NAME>."""

    max_batch: int
    max_text_bytes: int
    max_body_bytes: int
    max_limit: int
    max_window: int = Field(description="For limit + offset, and for limit * rescore.oversample.")
    max_hits: int = Field(description="For the same, times the number of queries.")
    max_oversample: int = Field(description="For rescore.oversample.")
    request_timeout_s: float
    max_ongoing_requests: int
    max_queued_requests: int
    max_pending_bytes: int
    min_free_bytes: int = Field(description="Free disk space with less of which writes are refused.")


class Info(BaseModel):
    """What is served, and within which limits."""

    name: Literal["texthash"] = "texthash"
    version: str
    release: ReleaseInfo
    model: ModelInfo
    index: IndexInfo
    limits: Limits


class ShardsReady(BaseModel):
    """How many shards answer."""

    ready: int
    total: int


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok", "unavailable"]
    encoder: bool | None = None
    shards: ShardsReady | None = None
    missing: list[str] = Field(
        [],
        description="What is amiss: deployments that do not answer, and `follower` where the served release lags "
        "behind the current one.",
    )
    writes: Literal["accepted", "refused"] | None = Field(
        None, description="refused: too little disk space is free, while searches go on. null: this server takes none."
    )
    writes_refused: str | None = Field(None, description="Why writes are refused.")
    release: str | None = Field(None, description="The release that is served.")
    lag_s: float | None = Field(
        None,
        description="Seconds since the served release was last known to be the current one; null where the service "
        "stays with one release.",
    )
    reason: str | None = Field(None, description="Why the service does not follow the current release.")


class UpsertReply(BaseModel):
    """A write that is durable."""

    upserted: int
    new: int = Field(description="How many the index did not hold before.")
    without_known_words: int = Field(
        0, description="Of how many the model knows no word: they are kept, but are near to nothing in a search."
    )
    release: str = Field(description="The release that holds it.")
    index_version: int = Field(description="Its number: answers from this one on see the write.")


class DeleteReply(BaseModel):
    """A write that is durable."""

    deleted: int
    release: str
    index_version: int


class StoredDocument(BaseModel):
    """A document of the index."""

    id: str
    title: str
    text: str
    labels: list[str]
    code: str = Field(description="Hexadecimal digits, most significant bit first.")
    known_words: bool = Field(
        True, description="Whether the model knows a word of it; without one no search finds it by its meaning."
    )
    index_version: int


class CountReply(BaseModel):
    """How many documents there are."""

    count: int
    index_version: int


class SnapshotInfo(BaseModel):
    """A state that is kept."""

    name: str
    release: str
    created: str


class Snapshots(BaseModel):
    """All snapshots, oldest first."""

    snapshots: list[SnapshotInfo]


class CompactReply(BaseModel):
    """The same documents, in fewer and fuller files."""

    documents: int
    release: str
    index_version: int


class RestoreReply(BaseModel):
    """A state that was brought back."""

    documents: int
    release: str
    index_version: int
