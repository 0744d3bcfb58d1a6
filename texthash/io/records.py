"""Records: small JSON files that describe other files, and are validated when they are read.

A sealed record contains a digest of its other members, so that damage is found when it is read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

from texthash.errors import TexthashError

DIGEST = "digest"
T = TypeVar("T")


def _no_way_out(name: str) -> str:
    if ".." in name.replace("\\", "/").split("/"):
        raise ValueError("it leads out of the directory in which it has to be")
    return name


# The name of one file or directory: no path, not hidden, no control characters.
FileName = Annotated[str, StringConstraints(pattern=r"^[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}$")]
# A relative path, an absolute one or a URI, without "..".
Location = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_no_way_out)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RowChecksum = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with a digest of its members."""
    return {**record, DIGEST: _digest(record)}


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """Read the members of a record, without validation.

    Args:
        path: File of the record.
        remedy: Remedy for the error.

    Raises:
        FileNotFoundError: The file does not exist.
        TexthashError: The file is not a JSON object.
    """
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("it is not a JSON object")
        return record
    except ValueError as error:
        raise TexthashError(f"{path} is broken: {error}", remedy) from None


def typed(kind: type[T], record: dict[str, Any], path: Path, remedy: str) -> T:
    """Validate a record by the annotations of a dataclass, and return an instance of it.

    Raises:
        TexthashError: A sealed record was changed, or a member is missing, unknown or invalid. The error names file,
            member and value.
    """
    members = {name: value for name, value in record.items() if name != DIGEST}
    if DIGEST in record and record[DIGEST] != _digest(members):
        raise TexthashError(f"{path} is broken: its members do not match its digest.", remedy)
    unknown = members.keys() - {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise TexthashError(f"{path} is broken: there is no member {', '.join(sorted(unknown))}.", remedy)
    try:
        made: T = _adapter(cast(Any, kind)).validate_json(json.dumps(members), strict=True)
        return made
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        value = "" if first["type"] == "missing" else f" is {first['input']!r}"
        raise TexthashError(f"{path} is broken: {where}{value}: {first['msg']}", remedy) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _digest(members: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()
