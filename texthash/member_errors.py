"""Messages about invalid members of a request's objects, which name what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from texthash.errors import nearest_name, plain_message, shortened

_NO_OBJECT = ("model_type", "model_attributes_type", "dict_type")


def explain(item: Mapping[str, Any], annotation: Any, location: Sequence[str | int]) -> str:
    """Return the message of one of pydantic's errors, with the known members if it is about an unknown one.

    Args:
        item: Error, as :meth:`pydantic.ValidationError.errors` lists it.
        annotation: Type that the value was validated by.
        location: Location of the error within the value.
    """
    if item["type"] == "extra_forbidden" and (owner := _model_at(annotation, location[:-1])) is not None:
        return f"is not a member of this object; {_hint(shortened(str(location[-1])), owner)}"
    if item["type"] in _NO_OBJECT:
        owner = _model_at(annotation, location)
        return "must be an object" + (f"; its members: {', '.join(members(owner))}" if owner is not None else "")
    return plain_message(str(item["msg"]))


def explain_first(error: ValidationError, annotation: Any, *outer: str) -> str:
    """Return the first of the errors on one line, with the dotted name of the member.

    Args:
        error: Error of pydantic.
        annotation: Type that the value was validated by.
        *outer: Names before that of the member.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(shortened(str(part)) for part in (*outer, *first["loc"]))
    message = explain(first, annotation, first["loc"])
    return f"{where}: {message}" if where else message


def members(model: type[BaseModel]) -> dict[str, Any]:
    """Return the annotations of a model's members by the names that they have in JSON."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Return all models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _hint(name: str, owner: type[BaseModel]) -> str:
    """Return a hint for an unknown member: the object that has it, else the nearest name."""
    known = members(owner)
    for member, annotation in known.items():
        if any(inner is not owner and name in members(inner) for inner in models_in(annotation)):
            return f"it belongs into {member!r}"
    return nearest_name(name, known) if known else "this object takes no members"


def _model_at(annotation: Any, location: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model of the object at a location of a value; None if it has no model."""
    kinds = _alternatives(annotation)
    for part in location:
        kinds = [inner for kind in kinds for inner in _alternatives(_type_below(kind, part))]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


def _type_below(kind: Any, part: str | int) -> Any:
    """Return the type of a member of an object, a value of a mapping or an item of a list; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return members(kind).get(str(part))
    inner = get_args(kind)
    if get_origin(kind) is dict:
        return inner[1]
    return inner[0] if inner and isinstance(part, int) else None
