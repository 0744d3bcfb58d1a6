"""Values of attributes in the cells of tables.

Without a stated type a value keeps its own: a number, boolean or text of JSON, and a date or time of Parquet; cells of
CSV are text. A stated type also reads text: ``2024`` as a number, ``true`` as a boolean, ``2024-05-01`` as a date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from texthash.api.attributes import AttributeType, Value, read_date, read_value, type_of
from texthash.corpora.readers.fields import FieldError, described, is_missing, name

_WRITTEN_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_BOOLEANS = {"true": True, "false": False}
_NESTED = "an attribute is one value: make a column of each member that searches filter by, or name a list as labels."
_AS_TEXT = "or name the column without a type, which keeps the text."
_REMEDIES = {
    "number": f"write numbers as 2024 or 9.5, with a point; {_AS_TEXT}",
    "date": f"write dates as 2024-05-01 or 2024-05-01T12:30:00Z; {_AS_TEXT}",
    "boolean": f"write true or false; {_AS_TEXT}",
}


def attribute(value: Any, kind: AttributeType | None) -> Value | None:
    """Return the value of an attribute; None where it is missing.

    Args:
        value: Cell of a row.
        kind: Stated type of the attribute; None keeps that of the value.

    Raises:
        FieldError: The value is of another type than the stated one, or of none that attributes have.
    """
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if is_missing(value):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    try:
        found = read_value(value if kind is None else _stated(value, kind))
    except ValueError as error:
        nested = isinstance(value, (Mapping, list))
        raise FieldError(str(error), _NESTED if nested else _REMEDIES.get(kind or "", "")) from None
    if kind is not None and type_of(found) != kind:
        raise FieldError(f"is {described(value)}, not a {kind}", _REMEDIES.get(kind, ""))
    return found


def _stated(value: Any, kind: AttributeType) -> Any:
    """Return a value that its stated type changes: text as a number, a boolean or a date, and a number as text."""
    if kind == "string" and isinstance(value, Real) and not isinstance(value, bool):
        return name(value)
    if not isinstance(value, str):
        return value
    if kind == "date":
        return read_date(value.strip())
    if kind == "number" and _WRITTEN_NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
        # A whole number is checked to be exact.
        return int(value) if value.strip().lstrip("+-").isdigit() else number
    if kind == "boolean":
        return _BOOLEANS.get(value.strip().casefold(), value)
    return value
