"""Filters of documents in requests. Their meaning is defined in :mod:`texthash.index.filters.language`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from texthash.api.attributes import MAX_STRING, AttributeName, AttributeValue, OptionalValue
from texthash.api.body import Body, Text, name_keys

MAX_DEPTH = 8
"""Maximum depth of nested filters."""
MAX_CONDITIONS = 256
"""Maximum number of conditions of a filter, nested ones included."""
MAX_VALUES = 1024
"""Maximum number of values of ``in``."""
MAX_IDS = 10_000
"""Maximum number of ids of a filter."""
_NESTED = ("all", "any", "not")
_BOUNDS = (("gt", "gte"), ("lt", "lte"))


def _exactly(schema: dict[str, Any]) -> None:
    """Make the JSON schema of a model say that members are given or absent, never null, and that there is one."""
    for member in schema["properties"].values():
        member.pop("default", None)
        kinds = [one for one in member.pop("anyOf", []) if one != {"type": "null"}]
        member.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
    name_keys(schema)
    schema["minProperties"] = 1


def _one_bound(schema: dict[str, Any]) -> None:
    _exactly(schema)
    schema["allOf"] = [{"not": {"required": list(pair)}} for pair in _BOUNDS]


class Condition(Body):
    """Condition on one attribute: every member that is given has to hold.

    A document without the attribute fulfils none but `exists: false`.
    """

    model_config = ConfigDict(populate_by_name=True, json_schema_extra=_one_bound)

    eq: OptionalValue = Field(None, description="The value is this one.")
    in_: Annotated[list[AttributeValue], Field(min_length=1, max_length=MAX_VALUES, fail_fast=True)] | None = Field(
        None, alias="in", description="The value is one of these."
    )
    gt: OptionalValue = Field(None, description="The value is greater than this one.")
    gte: OptionalValue = Field(None, description="The value is this one or greater.")
    lt: OptionalValue = Field(None, description="The value is less than this one.")
    lte: OptionalValue = Field(None, description="The value is this one or less.")
    prefix: Annotated[str, Field(min_length=1, max_length=MAX_STRING)] | None = Field(
        None, description="The string begins with this one."
    )
    exists: bool | None = Field(None, description="true: the document has the attribute; false: it has not.")

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        _check_given(self, "eq, in, gt, gte, lt, lte, prefix and exists")
        for one, other in _BOUNDS:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"give {one} or {other}, not both")
        return self


class Filter(Body):
    """Filter of the documents: every member that is given has to hold."""

    model_config = ConfigDict(populate_by_name=True, json_schema_extra=_exactly)

    labels: Annotated[list[Text], Field(min_length=1, max_length=256, fail_fast=True)] | None = Field(
        None, description="Labels, of which a document has to have at least one; unknown labels match nothing."
    )
    ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_IDS, fail_fast=True)] | None = Field(
        None, description="Ids, of which a document has to have one; unknown ids match nothing."
    )
    attributes: Annotated[dict[AttributeName, Condition], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Conditions on attributes, by name; an attribute that the index does not know is an error."
    )
    all: Annotated[list[Filter], Field(min_length=1, max_length=64, fail_fast=True)] | None = Field(
        None, description="Filters, all of which have to hold."
    )
    any: Annotated[list[Filter], Field(min_length=1, max_length=64, fail_fast=True)] | None = Field(
        None, description="Filters, at least one of which has to hold."
    )
    not_: Filter | None = Field(None, alias="not", description="Filter that must not hold.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        _check_given(self, "labels, ids, attributes, all, any and not")
        return self


def _check_given(model: Body, members: str) -> None:
    if not model.model_fields_set:
        raise ValueError(f"give at least one of {members}")
    for name in model.model_fields_set:
        if getattr(model, name) is None:
            raise ValueError(f"{name.rstrip('_')} is null: leave the member out")


def _bounded(value: Any) -> Any:
    """Reject a filter that is nested too deeply or has too many conditions, before its members are validated."""
    level, depth, conditions = [value], 0, 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
        below: list[Any] = []
        for one in level:
            if not isinstance(one, dict):
                continue
            attributes = one.get("attributes")
            conditions += len(attributes) if isinstance(attributes, dict) else 0
            conditions += sum(name in one for name in ("labels", "ids"))
            for name in _NESTED:
                inner = one.get(name)
                below += inner if isinstance(inner, list) else [inner]
        if conditions > MAX_CONDITIONS or len(below) > len(_NESTED) * MAX_CONDITIONS:
            raise ValueError(f"has more than {MAX_CONDITIONS} conditions")
        level = [one for one in below if isinstance(one, dict)]
    return value


BoundedFilter = Annotated[
    Filter,
    BeforeValidator(_bounded),
    Field(description=f"Nested at most {MAX_DEPTH} levels deep, with at most {MAX_CONDITIONS} conditions."),
]
