"""Conversion of Lance's errors into errors of texthash, which name the dataset."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import pyarrow as pa

from texthash.errors import (
    RENEW_CREDENTIALS,
    StorageUnavailableError,
    TexthashError,
    is_out_of_reach,
    refuses_credentials,
)

if TYPE_CHECKING:
    import lance

P = ParamSpec("P")
T = TypeVar("T")
# Lance reports the number of an operating system's error only in its text.
_NO_SPACE = re.compile(rf"\(os error ({errno.ENOSPC}|{errno.EDQUOT})\)")
REMEDY = "`texthash index verify` names what is damaged; restore the index from a backup, or build it again."


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise Lance's errors about a damaged file as a TexthashError that names the dataset.

    An OSError of a full or unreachable disk is passed on unchanged. Damage may also make Lance panic, with an exception
    that derives from BaseException and would pass every handler.
    """
    try:
        yield
    except TexthashError:
        raise
    except BaseException as error:
        if not (isinstance(error, (OSError, ValueError, RuntimeError, pa.ArrowException)) or is_panic(error)):
            raise
        if isinstance(error, OSError) and (error.errno is not None or _NO_SPACE.search(str(error))):
            raise
        if refuses_credentials(error):
            raise StorageUnavailableError(
                f"{what} cannot be used, as the object store refuses the credentials, such as expired ones: {error}",
                RENEW_CREDENTIALS,
            ) from error
        if is_out_of_reach(error):
            raise StorageUnavailableError(
                f"{what} cannot be used, as the object store is busy or out of reach: {error}",
                "try again when it answers; nothing that was published is lost.",
            ) from error
        raise TexthashError(f"{what} cannot be read: {error}", REMEDY) from error


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is a panic of Rust code, whose class cannot be imported."""
    return any((kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException") for kind in type(error).__mro__)


def naming_dataset(
    function: Callable[Concatenate[lance.LanceDataset, P], T],
) -> Callable[Concatenate[lance.LanceDataset, P], T]:
    """Decorate a function of a dataset so that its errors are converted as by :func:`reading`."""

    @wraps(function)
    def named(dataset: lance.LanceDataset, *args: P.args, **kwargs: P.kwargs) -> T:
        with reading(f"version {dataset.version} of {dataset.uri}"):
            return function(dataset, *args, **kwargs)

    return named
