"""Commands through a service: search it, and write to an index whose writer it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from texthash.api.requests import Mode
from texthash.errors import TexthashError
from texthash.index.writing.writer_lock import IndexLockedError
from texthash.progress import log_line, track

if TYPE_CHECKING:
    from texthash.api.answers import Info
    from texthash.client import Client
    from texthash.corpora.document import Document
    from texthash.corpora.readers.rows import Table
    from texthash.paths import StateDir

T = TypeVar("T")
# Upper bound of the bytes of a request beside its documents.
_OVERHEAD_BYTES = 100
_NEARBY_TIMEOUT_S = 10.0
_NOT_FOUND = 404


def write_locally_or_remotely(
    local: Callable[[], dict[str, Any]], remote: Callable[[Client], dict[str, Any]]
) -> dict[str, Any]:
    """Write in this process or, where a service is the writer of the index, through the service.

    Raises:
        IndexLockedError: Another program is the writer.
        ServiceError: The service rejected the write.
    """
    try:
        return local()
    except IndexLockedError as locked:
        if locked.address is None:
            raise
        from texthash.client import Client

        log_line(f"writing through the service at {locked.address}")
        with Client(locked.address) as client:
            return remote(client)


def write_in_this_process(local: Callable[[], T], instead: str) -> T:
    """Write in this process what no service takes.

    Args:
        local: Function that writes.
        instead: What can be done while a service is the writer of the index, for the error.

    Raises:
        IndexLockedError: A service or another program is the writer.
    """
    try:
        return local()
    except IndexLockedError as locked:
        if locked.address is None:
            raise
        raise IndexLockedError(
            locked.problem, f"end the service, then run the command again; or {instead}", locked.address
        ) from None


@dataclass(frozen=True)
class SearchQuery:
    """Search of the command line; attributes as the arguments of :meth:`texthash.client.Client.search`."""

    query: str | None
    vector: list[float] | None
    limit: int
    mode: Mode | None
    weight: float | None
    plan: Literal["auto", "flat", "mih"]
    rescore: Literal["none", "asymmetric", "float"] | None
    oversample: int
    filter: dict[str, Any] | None = None


def search(url: str, query: SearchQuery) -> dict[str, Any]:
    """Return the answer of a service to one query.

    Raises:
        ServiceError: The service rejected the query.
        TexthashError: No service answers at the URL.
    """
    from texthash.client import Client

    with Client(url) as client:
        return _answer(client, query)


def search_nearby(home: StateDir, query: SearchQuery) -> dict[str, Any] | None:
    """Return the answer of the service that serves a state directory.

    Returns:
        None where no such service exists, or it does not answer or rejects the query; the reason is logged.
    """
    return _nearby(home, lambda client: _answer(client, query), "searching")


def document(url: str, document_id: str) -> dict[str, Any]:
    """Return a document from a service. Raises as :func:`search`."""
    from texthash.client import Client

    with Client(url) as client:
        return client.document(document_id).model_dump()


def document_nearby(home: StateDir, document_id: str) -> dict[str, Any] | None:
    """Return a document from the service that serves a state directory; None as :func:`search_nearby`.

    Raises:
        ServiceError: The index has no such document.
    """
    return _nearby(home, lambda client: client.document(document_id).model_dump(), "reading")


def _nearby(home: StateDir, call: Callable[[Client], dict[str, Any]], action: str) -> dict[str, Any] | None:
    from texthash.index.releases.release import read_release
    from texthash.index.writing.writer_lock import service_of

    address = service_of(home, read_release(home).index_uri)
    if address is None:
        return None
    from texthash.client import Client, ServiceError

    try:
        with Client(address, timeout_s=_NEARBY_TIMEOUT_S, retries=0) as client:
            if not _serves_release_of(home, client.info()):
                log_line(f"the service at {address} serves another index; {action} in this process")
                return None
            return call(client)
    except TexthashError as error:
        if isinstance(error, ServiceError) and error.status == _NOT_FOUND:
            raise
        log_line(f"{error.problem.rstrip('.')}; {action} in this process")
        return None


def _serves_release_of(home: StateDir, served: Info) -> bool:
    """Return whether a service serves a release of a state directory; another may have taken a freed port."""
    from texthash.index.releases.release import read_release

    try:
        known = read_release(home, served.release.name)
    except TexthashError:  # It is a release of another directory, or was dropped since.
        return False
    return (known.created, known.model_digest) == (served.release.created, served.model.digest)


def _answer(client: Client, query: SearchQuery) -> dict[str, Any]:
    reply = client.search(
        () if query.query is None else query.query,
        vector=query.vector,
        mode=query.mode,
        weight=query.weight,
        limit=query.limit,
        fields=("title", "text", "labels", "attributes"),
        plan=query.plan,
        rescore=query.rescore,
        oversample=query.oversample,
        filter=query.filter,
    )
    (result,) = reply.results
    return {
        "index_version": reply.index_version,
        "mode": reply.mode,
        **result.model_dump(include={"code", "known_words", "hits", "plan", "candidates"}, exclude_unset=True),
    }


def upsert_file(client: Client, table: Table) -> dict[str, Any]:
    """Upsert the documents of a file in requests of the largest accepted size, after a check of the whole file."""
    from texthash.client.batches import in_requests
    from texthash.corpora.readers.rows import documents
    from texthash.deployment.row_files import Written, check_rows, new_document, warn_of_lost_attributes

    def bytes_of(document: Document) -> int:
        return len(json.dumps(new_document(document)).encode()) + 2

    info = client.info()
    limits = info.limits
    check_rows(table, limits.max_text_bytes)
    warn_of_lost_attributes(table, info.index.attributes)
    requests = in_requests(documents(table), bytes_of, limits.max_batch, limits.max_body_bytes - _OVERHEAD_BYTES)
    done = new = unknown = 0
    with Written(table.path) as written:
        for batch in track(requests, "upserting (requests)"):
            reply = client.upsert([new_document(document) for document in batch], wait=True)
            written.add(batch)
            done, new = done + reply.upserted, new + reply.new
            unknown += reply.without_known_words
    return {"upserted": done, "new": new, "without_known_words": unknown, **state(client)}


def delete(client: Client, ids: list[str], filter: dict[str, Any] | None) -> dict[str, Any]:
    """Delete documents in requests of the largest accepted size."""
    from texthash.client.batches import delete_in_requests

    if bool(ids) == (filter is not None):
        raise TexthashError("a deletion needs either ids, or --label or --filter.", "give one of them.")
    if filter is not None:
        return {"deleted": client.delete(filter=filter, wait=True).deleted, **state(client)}
    return {"deleted": delete_in_requests(client, ids), **state(client)}


def state(client: Client) -> dict[str, Any]:
    """Return the release that is served, its number and its number of documents."""
    info = client.info()
    return {
        "release": info.release.name,
        "index_version": info.release.index_version,
        "documents": info.index.documents,
    }
