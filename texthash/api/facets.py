"""Facets: counts of the values of labels and attributes among the documents of a filter or search."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from texthash.api.attributes import AttributeName, AttributeType, AttributeValue, type_of
from texthash.api.body import Body, name_keys, whole
from texthash.api.filters import BoundedFilter

LABELS = "labels"
"""Name of the facet that counts labels; no attribute has it."""
MAX_FACETS = 32
"""Maximum number of facets of a request."""
MOST_VALUES = 1000
"""Maximum number of values of a facet."""
MOST_RANGES = 100
"""Maximum number of ranges, or of stated edges, of a facet."""


def _one_kind_of_ranges(schema: dict[str, Any]) -> None:
    for member in schema["properties"].values():
        member.pop("default", None)
        (kind,) = [one for one in member.pop("anyOf") if one != {"type": "null"}]
        member.update(kind)
    schema["not"] = {"required": ["ranges", "edges"]}


class FacetOptions(Body):
    """How a facet counts: by value, or in ranges. An empty object takes the defaults."""

    model_config = ConfigDict(json_schema_extra=_one_kind_of_ranges)

    # Bounds stand before the other check: behind it they would not appear in the OpenAPI document.
    limit: Annotated[int, Field(ge=1, le=MOST_VALUES), BeforeValidator(whole)] | None = Field(
        None,
        description="Count by value, and return the values of the most documents, so many of them. Default 10 for "
        "labels, strings and booleans; numbers and dates are counted by value only if it is given.",
    )
    ranges: Annotated[int, Field(ge=1, le=MOST_RANGES), BeforeValidator(whole)] | None = Field(
        None,
        description="Numbers and dates: count in at most so many ranges of equal width from the least to the largest "
        "value; whole numbers have whole edges, days whole days, and so for hours, minutes and seconds. "
        "Default 10.",
    )
    edges: Annotated[list[AttributeValue], Field(min_length=1, max_length=MOST_RANGES, fail_fast=True)] | None = Field(
        None, description="Numbers and dates: count below, between and from these values on, which ascend."
    )

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        if self.edges is None:
            return self
        if self.ranges is not None:
            raise ValueError("give ranges or edges, not both")
        if len({type_of(edge) for edge in self.edges}) > 1:
            raise ValueError("edges has values of two types")
        if any(not low < high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges does not ascend: give each edge once, the smallest first")
        return self


Facets = Annotated[
    dict[AttributeName, FacetOptions],
    Field(
        min_length=1,
        max_length=MAX_FACETS,
        examples=[{LABELS: {"limit": 5}}],
        description="Facets by the name of an attribute, or labels.",
    ),
]


class FacetsRequest(Body):
    """Facets of the documents that a filter keeps; of all documents without one."""

    model_config = ConfigDict(json_schema_extra=name_keys)

    facets: Facets
    filter: BoundedFilter | None = None


class ValueCount(BaseModel):
    """Number of documents with one value."""

    value: Any = Field(description="Label or value; a date as an object with the member date.")
    count: int


class RangeCount(BaseModel):
    """Number of documents with a value in a range."""

    range: dict[str, Any] = Field(description="Range as a condition of a filter: gte, lt and lte.")
    count: int


class FacetCount(BaseModel):
    """Counts of one facet."""

    type: AttributeType | Literal["label"]
    documents: int = Field(description="Number of documents that have a value.")
    missing: int = Field(description="Number of documents that have none.")
    distinct: int = Field(description="Number of different values.")
    values: list[ValueCount] | None = Field(
        None, description="Values with the most documents; equal counts in ascending order of the value."
    )
    rest: int | None = Field(
        None, description="Sum of the counts of the other values; a document counts once for each of its labels."
    )
    min: Any = Field(None, description="Smallest number or date.")
    max: Any = Field(None, description="Largest number or date.")
    ranges: list[RangeCount] | None = Field(None, description="Ranges in ascending order, without overlap.")


class FacetCounts(BaseModel):
    """Facets of some documents."""

    documents: int = Field(description="Number of the documents that are counted.")
    counts: dict[str, FacetCount]


class FacetsReply(FacetCounts):
    """Facets of the documents that a filter keeps."""

    release: str
    index_version: int
