"""Records: small JSON files that describe other files, and are validated when they are read.

A sealed record contains a digest of its other members, so that damage is found when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

from texthash.errors import StorageUnavailableError, TexthashError
from texthash.io.conditional import read_object
from texthash.progress import log_line

DIGEST = "digest"
_LONGEST = 100  # characters of a value in an error
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


def read_all(paths: Iterable[Path], read: Callable[[Path], T], *, broken: Literal["raise", "log"]) -> Iterator[T]:
    """Yield the records of several files, without those that another process has deleted meanwhile.

    Args:
        paths: Files of the records.
        read: Function that reads one.
        broken: Raise the error of the first broken record, or log the errors and leave these records out.

    Raises:
        StorageUnavailableError: An object store does not answer.
        TexthashError: A record is broken, and ``broken`` is ``"raise"``.
    """
    for path in paths:
        try:
            record = read(path)
        except FileNotFoundError:
            continue
        except StorageUnavailableError:
            raise
        except TexthashError as error:
            if not path.exists():
                continue
            if broken == "raise":
                raise
            log_line(f"warning: {error.problem}")
            continue
        yield record


def read_record(path: Path, remedy: str, error: type[TexthashError] = TexthashError) -> dict[str, Any]:
    """Read the members of a record, without validation.

    Args:
        path: File of the record.
        remedy: Remedy for the error.
        error: Class of the error.

    Raises:
        FileNotFoundError: The file does not exist.
        TexthashError: The file is not a JSON object.
    """
    try:
        content = path.read_bytes() if isinstance(path, Path) else read_object(path)
        if not content.strip():
            raise ValueError("it is empty")
        record = json.loads(content.decode())
        if not isinstance(record, dict):
            raise ValueError("it is not a JSON object")
        return record
    except RecursionError:
        raise error(f"{path} is broken: its values are nested too deeply.", remedy) from None
    except (ValueError, IsADirectoryError, NotADirectoryError) as problem:
        raise error(f"{path} is broken: {problem}.", remedy) from None


def is_record(path: Path) -> bool:
    """Return whether a file holds a whole mapping in JSON, not a part, as a full disk leaves one that is not atomic."""
    try:
        read_record(path, "")
    except StorageUnavailableError:
        raise
    except TexthashError:
        return False
    return True


def read_typed(
    kind: type[T],
    path: Path,
    remedy: str,
    *,
    partly: bool = False,
    leave_out: Sequence[str] = (),
    error: type[TexthashError] = TexthashError,
) -> T:
    """Read a record and validate it: :func:`read_record`, then :func:`typed`.

    Args:
        kind: Dataclass of the record, or another type of its members.
        path: File of the record.
        remedy: Remedy for the error.
        partly: Ignore members that ``kind`` does not have.
        leave_out: Names of members that are ignored.
        error: Class of the error.
    """
    record = read_record(path, remedy, error)
    kept = {name: value for name, value in record.items() if name not in leave_out}
    return typed(kind, kept, path, remedy, partly=partly, error=error)


def typed(
    kind: type[T],
    record: dict[str, Any],
    path: Path,
    remedy: str,
    *,
    partly: bool = False,
    error: type[TexthashError] = TexthashError,
) -> T:
    """Validate a record by the annotations of a dataclass, and return an instance of it.

    Args:
        kind: Dataclass of the record, or another type of its members.
        record: Members, as :func:`read_record` returns them.
        path: File of the record.
        remedy: Remedy for the error.
        partly: Ignore members that ``kind`` does not have.
        error: Class of the error.

    Raises:
        TexthashError: A sealed record was changed, or a member is missing, unknown or invalid. The error names file,
            member and value.
    """
    members = {name: value for name, value in record.items() if name != DIGEST}
    if DIGEST in record and record[DIGEST] != _digest(members):
        raise error(f"{path} is broken: its members do not match its digest.", remedy)
    if is_dataclass(kind) and not partly:
        unknown = members.keys() - {field.name for field in fields(kind)}
        if unknown:
            raise error(f"{path} is broken: there is no member {', '.join(map(_shown, sorted(unknown)))}.", remedy)
    try:
        made: T = _adapter(cast(Any, kind)).validate_json(json.dumps(members), strict=True)
        return made
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "a member"
        value = "" if first["type"] in ("missing", "json_invalid") else f" is {_shown(first['input'])}"
        raise error(f"{path} is broken: {where}{value}: {first['msg']}.", remedy) from None


def _shown(value: Any) -> str:
    """Return a value that can be printed, on one line."""
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _digest(members: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()
