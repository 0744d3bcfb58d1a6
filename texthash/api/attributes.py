"""Attributes of documents: their names, types and values, and the form of a value in JSON.

======== ======================================== =========================
type     JSON                                     Python
======== ======================================== =========================
string   ``"en"``                                 ``str``
number   ``2024`` or ``9.5``                      ``float``
boolean  ``true``                                 ``bool``
date     ``{"date": "2024-05-01"}``, or with time ``datetime`` in UTC
======== ======================================== =========================

A string is always a string: what looks like a date is one only where it says so. A number is a double, so whole numbers
are exact up to 2**53, and larger ones are refused. A date without an offset is in UTC.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args

from pydantic import Field, PlainValidator, WithJsonSchema

from texthash.api.missing import is_missing

AttributeType = Literal["string", "number", "boolean", "date"]
Value = str | float | bool | datetime
MAX_ATTRIBUTES = 64
"""Maximum number of attributes of a document."""
MAX_STRING = 1024
"""Maximum number of characters of a string."""
ATTRIBUTE_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
CATEGORY = "predicted_category"
"""Attribute that an index writes, a string, where its model puts documents into categories."""
RESERVED = ("id", "title", "text", "labels", "code", "vector", "attributes")
_NAME = re.compile(ATTRIBUTE_NAME)
_EXACT = 2**53
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
_DATE = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([Tt ]{_TIME})?")
_FORM = 'write {"date": "2024-05-01"} or {"date": "2024-05-01T12:30:00Z"}'


class AttributeColumn(NamedTuple):
    """Column of a table whose values are an attribute.

    Attributes:
        name: Name of column and attribute.
        type: Type of the attribute; None for that of the values.
    """

    name: str
    type: AttributeType | None = None

    @classmethod
    def parse(cls, text: str) -> AttributeColumn:
        """Return the column of a text ``NAME`` or ``NAME:TYPE``.

        Raises:
            ValueError: The name cannot be that of an attribute, or there is no such type.
        """
        name, _, kind = text.partition(":")
        if kind not in ("", *get_args(AttributeType)):
            raise ValueError(f"{text!r}: there is no type {kind!r}; use {', '.join(get_args(AttributeType))}")
        return cls(attribute_name(name), cast("AttributeType", kind) if kind else None)


def attribute_name(value: Any) -> str:
    """Return the name of an attribute unchanged.

    Raises:
        ValueError: It is not such a name.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"{str(value)[:80]!r} cannot name an attribute: use letters, digits, _ and -, at most 64, and begin with a "
            "letter or _"
        )
    if value in RESERVED:
        raise ValueError(f"{value!r} cannot name an attribute: it is a member of every document")
    return value


def read_value(value: Any) -> Value:
    """Return a value as Python holds it, from its form in JSON or from a Python date.

    Raises:
        ValueError: It is of no type of attributes; the message continues the name of the attribute.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, Decimal):  # of a column of Arrow or of a database
        return _number(float(value))
    if isinstance(value, date):
        if is_missing(value):
            raise ValueError("is a missing value (NaT): leave it out")
        return _in_utc(value)
    if isinstance(value, Mapping) and set(value) == {"date"} and isinstance(value["date"], str):
        return read_date(value["date"])
    kind = "a list" if isinstance(value, (list, tuple)) else "an object" if isinstance(value, Mapping) else repr(value)
    raise ValueError(f"is {kind}, not a string, number, boolean or date ({_FORM})")


def read_date(text: str) -> datetime:
    """Return the date that a text in the form of RFC 3339 names; raises as :func:`read_value`."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"is the date {text[:60]!r}, which is not in the form of RFC 3339: {_FORM}")
    try:
        return _in_utc(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is the date {text!r}, which does not exist: {error}") from None


def write_value(value: Value) -> Any:
    """Return the form of a value in JSON; a number without a fraction is a whole number there while it is exact."""
    if isinstance(value, datetime):
        midnight = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        text = f"{value:%Y}".rjust(4, "0") + f"{value:-%m-%d}"
        return {"date": text if midnight else f"{text}T{value.time().isoformat()}Z"}
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value


def type_of(value: Value) -> AttributeType:
    """Return the type of a value that :func:`read_value` has returned."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "date" if isinstance(value, datetime) else "number"


def described(value: Value) -> str:
    """Return type and value for an error message, ``the string 'n/a'``."""
    written = write_value(value)
    return f"the {type_of(value)} {written['date'] if isinstance(written, dict) else written!r}"


def read_attributes(values: Any) -> dict[str, Value]:
    """Return the attributes of a document as Python holds them, without those that are null.

    Raises:
        ValueError: A name or a value is invalid, or there are too many.
    """
    if not isinstance(values, Mapping):
        raise ValueError("are an object of names and values")
    if len(values) > MAX_ATTRIBUTES:
        raise ValueError(f"are {len(values)}, a document has at most {MAX_ATTRIBUTES}")
    found: dict[str, Value] = {}
    for name, value in values.items():
        attribute_name(name)
        if value is None:
            continue
        try:
            found[name] = read_value(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return found


def write_attributes(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the attributes of a document in JSON, by name."""
    return {name: write_value(values[name]) for name in sorted(values)}


def to_json(values: Mapping[str, Value]) -> str | None:
    """Return the attributes of a document as a text of JSON; None if there are none."""
    return json.dumps(write_attributes(values), ensure_ascii=False) if values else None


def from_json(text: str | None) -> dict[str, Value]:
    """Return the attributes of a text that :func:`to_json` has returned; raises ValueError for another."""
    return {} if text is None else read_attributes(json.loads(text))


def _string(value: str) -> str:
    if len(value) > MAX_STRING:
        raise ValueError(f"is a string of {len(value)} characters, at most {MAX_STRING} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"is not Unicode text: a lone surrogate at character {error.start}") from None
    return str(value)


def _number(value: float) -> float:
    if isinstance(value, int):
        if abs(value) > _EXACT:
            raise ValueError(f"is a whole number beyond {_EXACT} (2**53), which is not exact: write it as a string")
    elif not math.isfinite(value):
        raise ValueError(f"is {value}, not a finite number: leave it out where it is missing")
    return float(value) + 0.0  # -0.0 becomes 0.0


def _in_utc(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"is the date {value}, which is outside of the years 1 to 9999") from None


_ONE_VALUE: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_STRING},
        {"type": "number"},
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {
                "date": {
                    "type": "string",
                    "pattern": f"^{_DATE.pattern}$",
                    "examples": ["2024-05-01", "2024-05-01T12:30:00Z"],
                }
            },
            "required": ["date"],
            "additionalProperties": False,
        },
    ]
}
_ATTRIBUTES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_ATTRIBUTES,
    "propertyNames": {"pattern": f"^{ATTRIBUTE_NAME}$", "not": {"enum": list(RESERVED)}},
    "additionalProperties": {"anyOf": [*_ONE_VALUE["anyOf"], {"type": "null"}]},
    "examples": [{"year": 2024, "language": "en", "draft": False, "published": {"date": "2024-05-01"}}],
}
AttributeValue = Annotated[Any, PlainValidator(read_value), WithJsonSchema(_ONE_VALUE)]
OptionalValue = Annotated[
    Any,
    PlainValidator(lambda value: None if value is None else read_value(value)),
    WithJsonSchema(_ONE_VALUE),
]
Attributes = Annotated[dict[str, Any], PlainValidator(read_attributes), WithJsonSchema(_ATTRIBUTES_SCHEMA)]
AttributeName = Annotated[str, Field(pattern=f"^{ATTRIBUTE_NAME}$")]
