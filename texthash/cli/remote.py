"""What the command line does through a service: searching it, and writing to an index that it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from texthash.errors import TexthashError
from texthash.index.writing.writer_lock import IndexLockedError
from texthash.progress import log_line, track

if TYPE_CHECKING:
    from texthash.api.answers import Info
    from texthash.client import Client
    from texthash.corpora.document import Document
    from texthash.corpora.readers.rows import Table
    from texthash.paths import StateDir

# What the braces and commas around the documents of a request take at most, beside the documents.
_AROUND_BYTES = 100
_NEARBY_TIMEOUT_S = 10.0
_NOT_FOUND = 404


def here_or_there(here: Callable[[], dict[str, Any]], there: Callable[[Client], dict[str, Any]]) -> dict[str, Any]:
    """Write in this process, or, where a service is the writer of the index, through that.

    Raises:
        IndexLockedError: another program is the writer.
        ServiceError: the service refused.
    """
    try:
        return here()
    except IndexLockedError as held:
        if held.address is None:
            raise
        from texthash.client import Client

        log_line(f"writing through the service at {held.address}")
        with Client(held.address) as client:
            return there(client)


@dataclass(frozen=True)
class Wanted:
    """A search of the command line; members as those of :meth:`texthash.client.Client.search`."""

    query: str
    limit: int
    plan: Literal["auto", "flat", "mih"]
    rescore: Literal["none", "asymmetric", "float"]
    oversample: int


def search(url: str, wanted: Wanted) -> dict[str, Any]:
    """Search through a service.

    Raises:
        ServiceError: the service refused.
        TexthashError: no service answers there.
    """
    from texthash.client import Client

    with Client(url) as client:
        return _answer(client, wanted)


def search_nearby(home: StateDir, wanted: Wanted) -> dict[str, Any] | None:
    """Search through the service that serves a state directory.

    Returns:
        None where there is no such service, or it does not answer or refuses; the reason is logged.
    """
    return _nearby(home, lambda client: _answer(client, wanted), "searching")


def document(url: str, document_id: str) -> dict[str, Any]:
    """Read a document through a service. Errors as :func:`search`."""
    from texthash.client import Client

    with Client(url) as client:
        return client.document(document_id).model_dump()


def document_nearby(home: StateDir, document_id: str) -> dict[str, Any] | None:
    """Read a document through the service that serves a state directory; None as :func:`search_nearby`.

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
            if not _is_ours(home, client.info()):
                log_line(f"the service at {address} serves another index; {action} in this process")
                return None
            return call(client)
    except TexthashError as error:
        if isinstance(error, ServiceError) and error.status == _NOT_FOUND:
            raise
        log_line(f"{error.problem.rstrip('.')}; {action} in this process")
        return None


def _is_ours(home: StateDir, served: Info) -> bool:
    """Whether a service serves a release of this state directory: another may have taken the port of one that ended."""
    from texthash.index.releases.release import read_release

    try:
        ours = read_release(home, served.release.name)
    except TexthashError:  # the name is that of another directory's release, or it was dropped since
        return False
    return (ours.created, ours.model_digest) == (served.release.created, served.model.digest)


def _answer(client: Client, wanted: Wanted) -> dict[str, Any]:
    reply = client.search(
        wanted.query,
        limit=wanted.limit,
        fields=("title", "text", "labels"),
        plan=wanted.plan,
        rescore=wanted.rescore,
        oversample=wanted.oversample,
    )
    (found,) = reply.results
    searched = {"plan", "candidates"} if found.known_words else set()
    return {
        "index_version": reply.index_version,
        **found.model_dump(include={"code", "known_words", "hits", *searched}, exclude_none=True),
    }


def upsert_file(client: Client, table: Table) -> dict[str, Any]:
    """Put the documents of a file in, as many in a request as the service takes, after a look at the whole file."""
    from texthash.corpora.readers.rows import documents
    from texthash.deployment.row_files import Written, check_rows

    limits = client.info().limits
    check_rows(table, limits.max_text_bytes)
    requests = _requests(documents(table), limits.max_batch, limits.max_body_bytes)
    done = new = unknown = 0
    with Written(table.path) as written:
        for some in track(requests, "upserting (requests)"):
            reply = client.upsert([_body(document) for document in some], wait=True)
            written.add(some)
            done, new = done + reply.upserted, new + reply.new
            unknown += reply.without_known_words
    return {"upserted": done, "new": new, "without_known_words": unknown, **state(client)}


def delete(client: Client, ids: list[str], labels: list[str]) -> dict[str, Any]:
    """Take documents out, as many in a request as the service takes."""
    if bool(ids) == bool(labels):
        raise TexthashError("a delete needs either ids or labels.", "give one of them.")
    if labels:
        return {"deleted": client.delete(labels=labels, wait=True).deleted, **state(client)}
    most = client.info().limits.max_batch
    parts = [ids[first : first + most] for first in range(0, len(ids), most)]
    deleted = sum(client.delete(ids=part, wait=True).deleted for part in parts)
    return {"deleted": deleted, **state(client)}


def _requests(documents: Iterable[Document], most: int, most_bytes: int) -> Iterator[list[Document]]:
    some: list[Document] = []
    size = _AROUND_BYTES
    for document in documents:
        more = len(json.dumps(_body(document)).encode()) + 2
        if some and (len(some) == most or size + more > most_bytes):
            yield some
            some, size = [], _AROUND_BYTES
        some.append(document)
        size += more
    if some:
        yield some


def _body(document: Document) -> dict[str, Any]:
    return {"id": document.id, "text": document.text, "title": document.title, "labels": list(document.labels)}


def state(client: Client) -> dict[str, Any]:
    """What is served now."""
    info = client.info()
    return {
        "release": info.release.name,
        "index_version": info.release.index_version,
        "documents": info.index.documents,
    }
