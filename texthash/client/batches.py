"""Division of documents into requests within the limits of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from texthash.client.clients import Client

T = TypeVar("T")


def in_requests(documents: Iterable[T], bytes_of: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """Yield documents in their order, as many at a time as a request takes; one that is too large comes alone.

    Args:
        documents: Documents, which are read as they are needed.
        bytes_of: Function that returns the bytes of a document in a request, with what separates it from the next.
        most: Maximum number of documents of a request.
        most_bytes: Maximum number of bytes of the documents of a request.

    >>> list(in_requests(["a", "bb", "cc", "d"], len, 2, 3))
    [['a', 'bb'], ['cc', 'd']]
    """
    batch: list[T] = []
    size = 0
    for document in documents:
        more = bytes_of(document)
        if batch and (len(batch) == most or size + more > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += more
    if batch:
        yield batch


def delete_in_requests(client: Client, ids: Sequence[str]) -> int:
    """Delete documents by id, as many at a time as a request takes, and return how many existed."""
    most = client.info().limits.max_batch
    return sum(
        client.delete(ids=list(ids[first : first + most]), wait=True).deleted for first in range(0, len(ids), most)
    )
