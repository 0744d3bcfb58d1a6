"""Metadata of other libraries' documents as attributes of texthash's, and back.

A value that can be an attribute is one, and can be filtered by: strings of at most 1,024 characters, finite numbers,
booleans and dates under a name of letters, digits, ``_`` and ``-``. A list of strings under ``labels`` becomes the
labels of the document. All other values are kept as JSON in attributes ``_more_0``, ``_more_1``, ...: they come back
with the document, and no filter reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from texthash.api.attributes import MAX_ATTRIBUTES, MAX_STRING, attribute_name, read_value, write_value
from texthash.api.missing import is_missing
from texthash.errors import UsageError

_MORE = "_more_"
_LABELS = "labels"


def split_metadata(
    metadata: Mapping[str, Any], kept: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes and the labels that hold metadata.

    Args:
        metadata: Values by name.
        kept: Further values, which :func:`join_metadata` returns separately.

    Raises:
        UsageError: A value is neither an attribute nor JSON, or there is too much of it.
    """
    attributes, rest, labels = dict[str, Any](), dict[str, Any](), list[str]()
    for name, given in metadata.items():
        value = None if is_missing(given) else given  # NaN of a column of pandas is not JSON
        if name == _LABELS and _is_labels(given):
            labels = list(given)
        elif is_attribute(name, value) and len(attributes) < MAX_ATTRIBUTES // 2:
            attributes[name] = value
        else:
            rest[name] = value
    if rest or kept:
        attributes |= _chunks({"rest": rest, "kept": dict(kept or {})})
    return attributes, labels


def join_metadata(
    attributes: Mapping[str, Any], labels: Sequence[str] = (), title: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of a document, and what was kept beside it.

    Args:
        attributes: Attributes of the document; dates in the form of JSON or of Python.
        labels: Its labels.
        title: Its title, which documents of a corpus may have.
    """
    parts = {name: value for name, value in attributes.items() if _is_more(name)}
    metadata = {name: _plain(value) for name, value in attributes.items() if name not in parts}
    more = json.loads("".join(parts[f"{_MORE}{number}"] for number in range(len(parts)))) if parts else {}
    metadata |= more.get("rest", {})
    if labels:
        metadata.setdefault(_LABELS, list(labels))
    if title:
        metadata.setdefault("title", title)
    return metadata, more.get("kept", {})


def is_attribute(name: Any, value: Any) -> bool:
    """Return whether a value of metadata can be filtered by."""
    try:
        attribute_name(name)
        read_value(value)
    except ValueError:
        return False
    return not _is_more(name) and not isinstance(value, Mapping)


def _is_more(name: str) -> bool:
    return name.startswith(_MORE) and name[len(_MORE) :].isdigit()


def _is_labels(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, str) and one for one in value)


def _plain(value: Any) -> Any:
    """Return the value of an attribute as Python holds it; a number without a fraction as a whole one."""
    found = read_value(value)
    return found if isinstance(found, date) else write_value(found)


def _chunks(rest: Mapping[str, Any]) -> dict[str, str]:
    try:
        text = json.dumps(rest, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        names = ", ".join(map(repr, rest["rest"]))
        raise UsageError(
            f"metadata ({names}) cannot be written as JSON: {error}.",
            "give strings, finite numbers, booleans, dates, and lists and mappings of these but dates.",
        ) from None
    parts = [text[first : first + MAX_STRING] for first in range(0, len(text), MAX_STRING)]
    if len(parts) > MAX_ATTRIBUTES // 2:
        raise UsageError(
            f"metadata takes {len(text)} characters as JSON, at most {MAX_ATTRIBUTES // 2 * MAX_STRING} are kept.",
            "leave out large values, or keep them elsewhere under the id of the document.",
        )
    return {f"{_MORE}{number}": part for number, part in enumerate(parts)}
