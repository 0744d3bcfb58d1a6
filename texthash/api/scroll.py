"""Scrolling: all documents of an index or filter, page by page, in the order of insertion or of an attribute."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, FailFast, Field

from texthash.api.attributes import AttributeName, Value, read_value, write_value
from texthash.api.body import Body, DocumentField, Integer, Text, without_repeats
from texthash.api.filters import BoundedFilter, Filter

_SEAL_BYTES = 6
_MAX_CURSOR = 16_384


class SortBy(Body):
    """Order by an attribute; documents without it come last, equal ones in the order of insertion."""

    attribute: AttributeName = Field(description="Name of an attribute.")
    order: Literal["asc", "desc"] = Field("asc", description="asc: the smallest value first; desc: the largest.")


class ScrollRequest(Body):
    """Page of documents."""

    filter: BoundedFilter | None = None
    sort: SortBy | None = Field(None, description="Order of the documents; null: that of their first insertion.")
    limit: Integer = Field(100, ge=1, description="Documents of a page; at most limits.max_limit of /v1/info.")
    fields: Annotated[list[DocumentField], FailFast(), AfterValidator(without_repeats)] = Field(
        ["title"], max_length=16, description="Fields to return of each document; repeats count once."
    )
    include_code: bool = Field(False, description="Return the code of each document.")
    cursor: Annotated[Text, Field(min_length=1, max_length=_MAX_CURSOR)] | None = Field(
        None,
        description="Cursor of the page before, with the same filter and sort; null begins with the first document.",
    )


class ScrolledDocument(BaseModel):
    """Document of a page."""

    id: str
    code: str | None = Field(None, description="Its code as hexadecimal digits, when include_code was set.")
    document: dict[str, Any] = Field(description="The requested fields.")


class ScrollReply(BaseModel):
    """Page of documents, all pages from one release."""

    documents: list[ScrolledDocument]
    total: int = Field(description="Number of documents of all pages.")
    cursor: str | None = Field(description="Cursor of the next page; null: this one is the last.")
    release: str = Field(description="Release of all pages, which the cursor names.")
    index_version: int


class CursorError(ValueError):
    """Error for a text that is no cursor, or the cursor of another request; the message continues its name."""


@dataclass(frozen=True)
class Cursor:
    """Place between two documents of one release in one order.

    Attributes:
        release: Name of the release.
        request: Digest of filter and sort.
        number: Number of the document before it.
        value: Value by which that one is sorted; None if it has none, or without a sort.
    """

    release: str
    request: str
    number: int
    value: Value | None = None

    def write(self) -> str:
        """Return the cursor as a text for :meth:`read`."""
        value = None if self.value is None else write_value(self.value)
        content = json.dumps([self.release, self.request, self.number, value], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_seal(content) + content).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, filter: Filter | None, sort: SortBy | None) -> Cursor:
        """Return the cursor of a text for a request with a filter and a sort.

        Raises:
            CursorError: The text is no cursor, or that of a request with another filter or sort.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            seal, content = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
            if seal != _seal(content):
                raise ValueError
            release, request, number, value = json.loads(content)
            found = cls(str(release), str(request), int(number), None if value is None else read_value(value))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise CursorError("is damaged: give the cursor of a reply unchanged") from None
        if found.request != digest_of(filter, sort):
            raise CursorError("belongs to another filter or sort: repeat those of the first page with every cursor")
        return found


def digest_of(filter: Filter | None, sort: SortBy | None) -> str:
    """Return a digest of a filter and a sort."""
    filtered = None if filter is None else filter.model_dump(exclude_unset=True, by_alias=True)
    members = [filtered, None if sort is None else [sort.attribute, sort.order]]
    return hashlib.sha256(json.dumps(members, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_SEAL_BYTES]
