"""Bodies of requests, as they stand in the OpenAPI document."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

MAX_ID = 512
"""Characters of the id of a document."""
DocumentField = Literal["title", "text", "labels"]
SNAPSHOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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


def _without_repeats(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


# Bounds stand before the other check: behind it a string that is too long would have too many "items".
Text = Annotated[str, AfterValidator(_unicode)]
FilledText = Annotated[str, Field(min_length=1), AfterValidator(_unicode)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_unicode)]
Title = Annotated[str, Field(max_length=10_000), AfterValidator(_unicode)]
Label = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_unicode)]


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

    labels: Annotated[list[Text], FailFast()] = Field(
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
    fields: Annotated[list[DocumentField], FailFast(), AfterValidator(_without_repeats)] = Field(
        ["title"], max_length=16, description="Parts of the document to return with each hit; repeats count once."
    )
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


class NewDocument(Body):
    """A document to put in."""

    id: Id = Field(description="Yours; an upsert replaces the document that has it.")
    text: FilledText = Field(description="Raw text; encoded by the model and stored.")
    title: Title = ""
    labels: Annotated[list[Label], FailFast()] = Field([], max_length=256)


class UpsertRequest(Body):
    """Documents to put in."""

    documents: list[NewDocument] = Field(min_length=1, description="At most limits.max_batch of /v1/info.")

    @model_validator(mode="after")
    def _ids_differ(self) -> UpsertRequest:
        twice = [id_ for id_, count in Counter(document.id for document in self.documents).items() if count > 1]
        if twice:
            raise ValueError(f"the id {twice[0]!r} occurs more than once")
        return self


class DeleteRequest(Body):
    """Which documents to take out: exactly one of ids and filter."""

    model_config = ConfigDict(json_schema_extra=exactly_one(ids="array", filter="object"))

    ids: list[Text] | None = Field(None, min_length=1, description="At most limits.max_batch; unknown ones do nothing.")
    filter: Filter | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> DeleteRequest:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give exactly one of ids and filter")
        return self


class CountRequest(Body):
    """Which documents to count; without a filter all."""

    filter: Filter | None = None


class EmptyRequest(Body):
    """An object without members."""


class SnapshotRequest(Body):
    """A name for what is served now."""

    name: str = Field(max_length=100, json_schema_extra={"pattern": f"^{SNAPSHOT_NAME.pattern}$"})
