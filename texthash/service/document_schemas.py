"""The bodies of requests that write, and of their answers."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from texthash.search.snapshots import NAME
from texthash.service.schemas import Body, Filter, Text, exactly_one

Label = Annotated[Text, Field(min_length=1, max_length=512)]


class NewDocument(Body):
    """A document to put in."""

    id: Text = Field(min_length=1, max_length=512, description="Yours; an upsert replaces the document that has it.")
    text: Text = Field(min_length=1, description="Raw text; encoded by the model and stored.")
    title: Text = Field("", max_length=10_000)
    labels: list[Label] = Field([], max_length=256)


class UpsertRequest(Body):
    """Documents to put in."""

    documents: list[NewDocument] = Field(min_length=1, description="At most limits.max_batch of /v1/info.")

    @model_validator(mode="after")
    def _ids_differ(self) -> UpsertRequest:
        twice = [id_ for id_, count in Counter(document.id for document in self.documents).items() if count > 1]
        if twice:
            raise ValueError(f"the id {twice[0]!r} occurs more than once")
        return self


class UpsertReply(BaseModel):
    """A write that is durable."""

    upserted: int
    new: int = Field(description="How many the index did not hold before.")
    release: str = Field(description="The release that holds it.")
    index_version: int = Field(description="Its number: answers from this one on see the write.")


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
    index_version: int


class CountRequest(Body):
    """Which documents to count; without a filter all."""

    filter: Filter | None = None


class CountReply(BaseModel):
    """How many documents there are."""

    count: int
    index_version: int


class SnapshotRequest(Body):
    """A name for what is served now."""

    name: str = Field(max_length=100, json_schema_extra={"pattern": f"^{NAME.pattern}$"})


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
