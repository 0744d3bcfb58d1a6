"""What the command line does through a service: searching it, and writing to an index that it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from texthash.errors import TexthashError
from texthash.index.writing.writer_lock import IndexHeldError
from texthash.progress import say, track

if TYPE_CHECKING:
    from texthash.client import Client
    from texthash.corpora.document import Document

# What the braces and commas around the documents of a request take at most, beside the documents.
_AROUND_BYTES = 100


def here_or_there(here: Callable[[], dict[str, Any]], there: Callable[[Client], dict[str, Any]]) -> dict[str, Any]:
    """Write in this process, or, where a service is the writer of the index, through that.

    Raises:
        IndexHeldError: another program is the writer.
        ServiceError: the service refused.
    """
    try:
        return here()
    except IndexHeldError as held:
        if held.address is None:
            raise
        from texthash.client import Client

        say(f"writing through the service at {held.address}")
        with Client(held.address) as client:
            return there(client)


def search(
    url: str,
    query: str,
    limit: int,
    plan: Literal["auto", "flat", "mih"],
    rescore: Literal["none", "asymmetric", "float"],
    oversample: int,
) -> dict[str, Any]:
    """The answer of a service to one text."""
    from texthash.client import Client

    with Client(url) as client:
        reply = client.search(
            query,
            limit=limit,
            fields=("title", "text", "labels"),
            plan=plan,
            rescore=rescore,
            oversample=oversample,
        )
    (found,) = reply.results
    searched = {"plan", "candidates"} if found.known_words else set()
    return {
        "index_version": reply.index_version,
        **found.model_dump(include={"code", "known_words", "hits", *searched}, exclude_none=True),
    }


def upsert_file(client: Client, path: Path) -> dict[str, Any]:
    """Put the documents of a file in, as many in a request as the service takes."""
    from texthash.corpora.readers import rows
    from texthash.deployment.index_files import with_text

    limits = client.info().limits
    requests = _requests(with_text(rows.documents(path)), limits.max_batch, limits.max_body_bytes)
    done = new = 0
    for some in track(requests, "upserting (requests)"):
        reply = client.upsert(some, wait=True)
        done, new = done + reply.upserted, new + reply.new
    return {"upserted": done, "new": new, **state(client)}


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


def _requests(documents: Iterable[Document], most: int, most_bytes: int) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    size = _AROUND_BYTES
    ids: set[str] = set()
    for found in documents:
        row = {"id": found.id, "text": found.text, "title": found.title, "labels": list(found.labels)}
        more = len(json.dumps(row).encode()) + 2
        if some and (len(some) == most or size + more > most_bytes or found.id in ids):
            yield some
            some, size, ids = [], _AROUND_BYTES, set()
        some.append(row)
        size += more
        ids.add(found.id)
    if some:
        yield some


def state(client: Client) -> dict[str, Any]:
    """What is served now."""
    info = client.info()
    return {
        "release": info.release.name,
        "index_version": info.release.index_version,
        "documents": info.index.documents,
    }
