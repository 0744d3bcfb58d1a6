"""The filter language: its conditions, and their meaning for one document.

:meth:`Where.matches` of each condition is the definition. :mod:`texthash.index.filters.masks` evaluates the same
conditions on the columns of many documents.

* A document that lacks an attribute fulfils no condition on it, whatever the condition; only :class:`Not` turns that
  round, and :class:`Exists` asks for it.
* Numbers and dates are ordered by size and time, strings by Unicode code points, upper case before lower case. Booleans
  have no order.
* A filter on an attribute that no document of the index has ever had is an error, not an empty result: under ``not`` a
  misspelt name would otherwise keep everything. So is a value of another type than the attribute's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from texthash.api.attributes import AttributeType, Value, described, type_of
from texthash.api.filters import Condition, Filter
from texthash.errors import UsageError, nearest_name

Types = Mapping[str, AttributeType]
_ORDERED: tuple[AttributeType, ...] = ("string", "number", "date")


class FilterError(UsageError):
    """Error for a filter that does not fit the attributes of the index."""


@dataclass(frozen=True)
class Row:
    """Fields of a document that a filter reads.

    Attributes:
        id: Id of the document.
        labels: Its labels.
        attributes: Its attributes by name, without missing ones.
    """

    id: str
    labels: frozenset[str] = frozenset()
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """Condition on a document; hashable, so that results can be kept by it."""

    def matches(self, row: Row) -> bool:
        """Return whether a document fulfils the condition."""
        raise NotImplementedError


@dataclass(frozen=True)
class Labels(Where):
    """The document has one of the labels."""

    names: tuple[str, ...]

    def matches(self, row: Row) -> bool:
        return not row.labels.isdisjoint(self.names)


@dataclass(frozen=True)
class Ids(Where):
    """The document has one of the ids."""

    ids: tuple[str, ...]

    def matches(self, row: Row) -> bool:
        return row.id in self.ids


@dataclass(frozen=True)
class Exists(Where):
    """The document has the attribute."""

    attribute: str

    def matches(self, row: Row) -> bool:
        return self.attribute in row.attributes


@dataclass(frozen=True)
class OneOf(Where):
    """The attribute has one of the values."""

    attribute: str
    values: tuple[Value, ...]

    def matches(self, row: Row) -> bool:
        return self.attribute in row.attributes and row.attributes[self.attribute] in self.values


@dataclass(frozen=True)
class Between(Where):
    """The attribute lies between two bounds; None for no bound.

    Attributes:
        attribute: Name of the attribute.
        low: Lower bound.
        high: Upper bound.
        with_low: Whether the lower bound itself is included.
        with_high: Whether the upper bound itself is included.
    """

    attribute: str
    low: Value | None = None
    high: Value | None = None
    with_low: bool = True
    with_high: bool = True

    def matches(self, row: Row) -> bool:
        if self.attribute not in row.attributes:
            return False
        value: float = row.attributes[self.attribute]  # type: ignore[assignment]  # both are of the attribute's type
        low: float | None = self.low  # type: ignore[assignment]
        high: float | None = self.high  # type: ignore[assignment]
        if low is not None and not (value > low or (self.with_low and value == low)):
            return False
        return high is None or value < high or (self.with_high and value == high)


@dataclass(frozen=True)
class StartsWith(Where):
    """The string begins with a prefix."""

    attribute: str
    prefix: str

    def matches(self, row: Row) -> bool:
        return str(row.attributes.get(self.attribute, "")).startswith(self.prefix)


@dataclass(frozen=True)
class All(Where):
    """Every part holds."""

    parts: tuple[Where, ...]

    def matches(self, row: Row) -> bool:
        return all(part.matches(row) for part in self.parts)


@dataclass(frozen=True)
class Any(Where):
    """At least one part holds."""

    parts: tuple[Where, ...]

    def matches(self, row: Row) -> bool:
        return any(part.matches(row) for part in self.parts)


@dataclass(frozen=True)
class Not(Where):
    """The part does not hold."""

    part: Where

    def matches(self, row: Row) -> bool:
        return not self.part.matches(row)


def where_of(given: Filter | None, types: Types, place: str = "filter") -> Where | None:
    """Return the condition that a filter of a request stands for; None without a filter.

    Args:
        given: Filter of a request.
        types: Type of each attribute of the index.
        place: Place of the filter in the request, for errors.

    Raises:
        FilterError: The index has no such attribute, or the attribute has another type.
    """
    if given is None:
        return None
    parts: list[Where] = []
    if given.labels is not None:
        parts.append(Labels(tuple(dict.fromkeys(given.labels))))
    if given.ids is not None:
        parts.append(Ids(tuple(dict.fromkeys(given.ids))))
    for name, condition in (given.attributes or {}).items():
        parts += _conditions(name, condition, types, f"{place}.attributes.{name}")
    for member in ("all", "any"):
        inner: list[Filter] | None = getattr(given, member)
        if inner is not None:
            nested = [where_of(one, types, f"{place}.{member}.{number}") for number, one in enumerate(inner)]
            known = tuple(one for one in nested if one is not None)
            parts.append(_all(known) if member == "all" else Any(known))
    if given.not_ is not None:
        part = where_of(given.not_, types, f"{place}.not")
        assert part is not None
        parts.append(Not(part))
    return _all(tuple(parts))


def known_type(name: str, types: Types, place: str) -> AttributeType:
    """Return the type of an attribute of the index; raises :class:`FilterError` if there is no such attribute."""
    if name in types:
        return types[name]
    none = "the index has no attributes: name columns in corpus.attributes, or write documents that have some."
    hint = nearest_name(name, sorted(types)) if types else none
    raise FilterError(f"{place}: no document of the index has had an attribute {name!r}.", hint)


def _all(parts: tuple[Where, ...]) -> Where:
    return parts[0] if len(parts) == 1 else All(parts)


def _conditions(name: str, condition: Condition, types: Types, place: str) -> list[Where]:
    kind = known_type(name, types, place)
    parts: list[Where] = []
    if condition.eq is not None:
        parts.append(OneOf(name, (typed(condition.eq, kind, name, f"{place}.eq"),)))
    if condition.in_ is not None:
        values = [typed(value, kind, name, f"{place}.in.{number}") for number, value in enumerate(condition.in_)]
        parts.append(OneOf(name, tuple(dict.fromkeys(values))))
    bounds = {
        operator: typed(value, kind, name, f"{place}.{operator}")
        for operator in ("gt", "gte", "lt", "lte")
        if (value := getattr(condition, operator)) is not None
    }
    if bounds:
        check_kind(kind, _ORDERED, name, f"{place}.{next(iter(bounds))}", "filtered by a range", "a range")
        parts.append(
            Between(
                name,
                bounds.get("gt", bounds.get("gte")),
                bounds.get("lt", bounds.get("lte")),
                "gt" not in bounds,
                "lt" not in bounds,
            )
        )
    if condition.prefix is not None:
        check_kind(kind, ("string",), name, f"{place}.prefix", "filtered by a prefix", "a prefix")
        parts.append(StartsWith(name, condition.prefix))
    if condition.exists is not None:
        parts.append(Exists(name) if condition.exists else Not(Exists(name)))
    return parts


def typed(value: Value, kind: AttributeType, name: str, place: str) -> Value:
    """Return a value for an attribute unchanged; raises :class:`FilterError` if it has another type."""
    if type_of(value) == kind:
        return value
    example = {"string": '"en"', "number": "2024", "boolean": "true", "date": '{"date": "2024-05-01"}'}[kind]
    raise FilterError(f"{place}: the attribute {name} is a {kind}, not {described(value)}.", f"give {example}.")


def check_kind(kind: str, allowed: Sequence[AttributeType], name: str, place: str, done: str, what: str) -> None:
    """Raise :class:`FilterError` for an attribute of a type with which something cannot be done.

    Args:
        kind: Type of the attribute, or label.
        allowed: Types with which it can be done.
        name: Name of the attribute.
        place: Place in the request.
        done: What is done, as a participle: "filtered by a range".
        what: What is needed for it: "a range".
    """
    if kind not in allowed:
        whose = f"the attribute {name} is a {kind}, which" if kind != "label" else "labels"
        raise FilterError(
            f"{place}: {whose} cannot be {done}.",
            f"{what} needs one of {', '.join(allowed)}." if len(allowed) > 1 else f"{what} needs a {allowed[0]}.",
        )
