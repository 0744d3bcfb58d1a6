"""Types of the attributes of an index, which the first value of each fixes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from texthash.api.attributes import AttributeType, Value, described, type_of
from texthash.errors import UsageError

MOST = 256
"""Maximum number of attributes of an index; each is a column."""


class AttributeTypeError(UsageError):
    """Error for a value of another type than that of its attribute, or for too many attributes."""


def merged_types(
    types: Mapping[str, AttributeType], documents: Iterable[tuple[str, Mapping[str, Value]]]
) -> dict[str, AttributeType]:
    """Return the types of attributes with those that documents add.

    Args:
        types: Type of each known attribute.
        documents: Id and attributes of each document.

    Raises:
        AttributeTypeError: A document has a value of another type than its attribute, or there are too many attributes.
    """
    found = dict(types)
    first: dict[str, str] = {}
    for id_, attributes in documents:
        for name, value in attributes.items():
            kind = type_of(value)
            known = found.setdefault(name, kind)
            if known != kind:
                place = f"the document {first[name]!r}" if name in first else "the index"
                raise AttributeTypeError(
                    f"the document {id_!r} has {described(value)} as its attribute {name}, which is a {known} in "
                    f"{place}.",
                    f"give a {known}, or use another name: the first value of an attribute fixes its type.",
                )
            if name not in types:
                first.setdefault(name, id_)
    if len(found) > MOST:
        raise AttributeTypeError(
            f"the index would have {len(found)} attributes, at most {MOST} are possible.",
            "use fewer names: an attribute has one value a document, and its name is no place for data.",
        )
    return found
