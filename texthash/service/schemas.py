"""The bodies of requests and answers, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from texthash.config import VectorKind

DocumentField = Literal["title", "text", "labels"]


class Body(BaseModel):
    """A part of a request: unknown members are refused, and values of another type than the document says."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    """JSON has one kind of number, and some programs write every one with a fraction: 4.0 is an integer there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]


def _unicode(value: str) -> str:
    """JSON can write half of a surrogate pair, which no store and no model can take."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"is not Unicode text: a lone surrogate at character {error.start}") from None
    return value


def _all_unicode(value: str | list[str]) -> str | list[str]:
    for text in [value] if isinstance(value, str) else value:
        _unicode(text)
    return value


Text = Annotated[str, AfterValidator(_unicode)]


def exactly_one(**types: str) -> dict[str, Any]:
    """JSON schema of an object that has exactly one of these members; each with its type, the others null or away."""
    return {
        "oneOf": [
            {"required": [name], "properties": {other: {"type": "null"} for other in types} | {name: {"type": type_}}}
            for name, type_ in types.items()
        ]
    }


class Query(Body):
    """What to search for: exactly one of text, code and id."""

    model_config = ConfigDict(json_schema_extra=exactly_one(text="string", code="string", id="string"))

    text: Text | None = Field(None, description="Raw text; encoded by the model as a query.")
    code: str | None = Field(
        None, description="A packed code, bits / 4 hexadecimal digits, most significant bit first."
    )
    id: Text | None = Field(None, description="Id of a document of the index: search with its stored code.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Query:
        given = [name for name in ("text", "code", "id") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of text, code and id, not {', '.join(given) or 'none'}")
        return self


class Filter(Body):
    """Which documents may be found."""

    labels: list[Text] = Field(
        min_length=1,
        max_length=256,
        description="Documents with at least one of these labels; unknown ones match none.",
    )


class Plan(Body):
    """How to search."""

    plan: Literal["auto", "flat", "mih"] = Field(
        "auto",
        description="flat: compare with every code; mih: multi-index hashing; auto: what is expected to be faster. "
        "Answers are exact always, and the same.",
    )


class Rescore(Body):
    """Whether the nearest documents are put in a finer order than that of the distance."""

    kind: Literal["none", "asymmetric", "float"] = Field(
        "none",
        description="asymmetric: by the query's real-valued code, before it was cut to bits, against the codes of the "
        "documents: the sum of its values where a document has a 1, less that where it has a 0. Of a query by code or "
        "id only bits are known, so its order stays that of the distance. float: by the cosine of the query's vector "
        "and the document's, which the index keeps if index.vectors of /v1/info says so; a query by id has the vector "
        "of its document, one by code has none and is refused.",
    )
    oversample: Integer = Field(
        4,
        ge=1,
        description="oversample * limit nearest documents are ordered again, and make up the whole list that offset "
        "pages through; at most limits.max_oversample of /v1/info, and oversample * limit at most limits.max_window.",
    )


class SearchRequest(Body):
    """A search with one query or many, which share all other members."""

    queries: list[Query] = Field(min_length=1, description="At most limits.max_batch of /v1/info.")
    limit: Integer = Field(10, ge=1, description="Hits per query; at most limits.max_limit of /v1/info.")
    offset: Integer = Field(0, ge=0, description="Hits to leave out first; limit + offset at most limits.max_window.")
    # The bound stands on the number: on the union it would not come into the document.
    radius: Annotated[int, Field(ge=0), BeforeValidator(_whole)] | None = Field(
        None, description="Only documents at most so many bits away; at most the bits."
    )
    filter: Filter | None = None
    params: Plan = Plan()
    rescore: Rescore = Rescore()
    fields: list[DocumentField] = Field(["title"], description="Parts of the document to return with each hit.")
    include_code: bool = Field(False, description="Return the code of each hit.")
    allow_partial: bool = Field(
        False, description="Where a shard is away, answer from the others and say so, instead of with a problem."
    )

    @property
    def rescored(self) -> bool:
        """Whether hits have scores."""
        return self.rescore.kind != "none"

    @property
    def window(self) -> int:
        """Hits to be found for each query, so that its page can be cut from them."""
        return self.limit * self.rescore.oversample if self.rescored else self.limit + self.offset


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


class EncodeRequest(Body):
    """Texts to encode."""

    inputs: Annotated[
        str | list[str],
        AfterValidator(_all_unicode),
        Field(description="One text or a list of at most limits.max_batch texts (see /v1/info)."),
    ]
    format: Literal["hex", "base64", "bits"] = Field("hex", description="Form of the codes; bits: a string of 0 and 1.")
    role: Literal["document", "query"] = Field(
        "document", description="Which side the texts are on; only models with two encoders tell them apart."
    )
    return_logits: bool = Field(False, description="Also return the real-valued codes before they were cut to bits.")


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
    missing: list[str] = Field([], description="Deployments that do not answer.")


class ProblemBody(BaseModel):
    """An error, RFC 9457."""

    type: str = Field(description="A page that documents this kind of problem.")
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[dict[str, Any]] | None = Field(None, description="The fields that are wrong.")
    shard: int | None = Field(None, description="The shard that is away.")
