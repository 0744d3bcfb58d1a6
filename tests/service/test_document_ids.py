"""Whatever id a document was written under, it is read, found, replaced and deleted under: over real HTTP."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import SHARDS, LocalWriter
from tests.service.live import listening
from texthash.client import AsyncClient, Client, ServiceError
from texthash.config import LimitsConfig
from texthash.errors import UsageError
from texthash.index.releases.release import read_release
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

AWKWARD = [
    *("a/../b", "b", ".", "..", "../..", "./a", "a/.", "a/..", "/", "//", "/a", "a/", "a//b", "...", "a/./b"),
    *("%2e", "%2E%2e", "%2f", "%", "%%", "%zz", "?", "a?b", "?id=b", "#", "a#b", "a&id=b", "a=b", "a+b", "+", ";", ":"),
    *(
        " ",
        " a",
        "a ",
        "  ",
        "\t",
        "a\tb",
        "\n",
        "a\n",
        "\na",
        "a\nb",
        "a\r\nb",
        "\r",
        "\x00",
        "a\x00b",
        "\x1f",
        "\x7f",
    ),
    *("\x85", "\u2028", "\ufeff", "\ufeffa", "é", "e\u0301", "ß", "日本語", "😀", "\U0010ffff", "\u200b", "\xa0a"),
    *(
        "count",
        "delete",
        "v1/documents",
        "'",
        "''",
        '"',
        "\\",
        "\\n",
        "`",
        "{}",
        "{id}",
        "[0]",
        "null",
        "None",
        "-",
        "--",
    ),
    *("x" * 512, "é" * 256, "/" * 512, "\n" * 512, "\U0010ffff" * 512),
]
Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def url(released: StateDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole service with a writer over a copy of the small index, behind a real server."""
    home = StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("ids") / "home")))
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    with listening(
        make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
    ) as address:
        yield address


def raw(url: str, target: str) -> Answer:
    """GET without a client that makes another path of this one."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", target)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def by_path(url: str, id_: str) -> Answer:
    return raw(url, f"/v1/documents/{quote(id_, safe='')}")


def by_query(url: str, id_: str) -> Answer:
    return raw(url, f"/v1/documents?id={quote(id_, safe='')}")


def titles(url: str, client: Client, id_: str) -> set[str]:
    """Title of the document of an id, as each door gives it."""
    found = client.document(id_)
    assert found.id == id_
    given = {found.title}
    for status, body in (by_path(url, id_), by_query(url, id_)):
        assert (status, body.get("id")) == (200, id_), (id_, body)
        given.add(body["title"])
    return given


def write_and_read(url: str, ids: list[str]) -> None:
    with Client(url) as client:
        for round_ in ("first", "second"):  # the second replaces
            rows = [{"id": id_, "text": "sort an array", "title": f"{round_} {n}"} for n, id_ in enumerate(ids)]
            reply = client.upsert(rows, wait=True)
            assert reply.upserted == len(ids)
            for number, id_ in enumerate(ids):
                assert titles(url, client, id_) == {f"{round_} {number}"}, id_
        assert reply.new == 0
        for id_ in ids:
            hits = client.search([{"id": id_}], limit=1000, radius=0).results[0].hits
            assert id_ in {hit.id for hit in hits}
        assert client.delete(ids=ids, wait=True).deleted == len(ids)
        for id_ in ids:
            assert (by_path(url, id_)[0], by_query(url, id_)[0]) == (404, 404), id_
            with pytest.raises(ServiceError, match="holds no document"):
                client.document(id_)


def test_awkward_ids(url: str) -> None:
    write_and_read(url, AWKWARD)


PIECES = st.one_of(
    st.sampled_from(
        ["/", ".", "..", "%2e", "%2F", "?", "#", "&", "=", "+", " ", "\n", "\r", "\x00", "%", "a", "é", "😀"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
)
IDS = st.lists(PIECES, min_size=1, max_size=8).map("".join).filter(lambda id_: 0 < len(id_) <= 512)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(ids=st.lists(IDS, min_size=1, max_size=12, unique=True))
def test_any_id(url: str, ids: list[str]) -> None:
    write_and_read(url, ids)


def test_an_id_of_a_document_that_is_not_there_is_no_other_document(url: str) -> None:
    with Client(url) as client:
        client.upsert([{"id": "b", "text": "sort an array"}], wait=True)
        for id_ in ("a/../b", "./b", "b/", "/b", " b", "b\n", "%62", "B", "b?", "b#"):
            assert (by_path(url, id_)[0], by_query(url, id_)[0]) == (404, 404), id_
            with pytest.raises(ServiceError, match="holds no document"):
                client.document(id_)
        client.delete(ids="b", wait=True)


@pytest.mark.parametrize("length", [513, 10_000, 70_000, 1_000_000])
def test_an_id_that_is_too_long_is_refused_by_every_door(url: str, length: int) -> None:
    long = "x" * length
    with Client(url, retries=0) as client:
        with pytest.raises((UsageError, ServiceError), match=r"holds no document|is too long"):
            client.document(long)
        for call in (lambda: client.upsert([{"id": long, "text": "a"}]), lambda: client.search([{"id": long}])):
            with pytest.raises(ServiceError) as caught:
                call()
            assert caught.value.status in (404, 413, 422)


def test_the_form_with_a_query_needs_an_id(url: str) -> None:
    for target in ("/v1/documents", "/v1/documents?id=", "/v1/documents/"):
        status, body = raw(url, target)
        assert (status, body["type"]) == (422, "/problems/invalid-field")


def test_the_asynchronous_client_reads_the_same(url: str) -> None:
    import asyncio

    async def read_all() -> list[str]:
        async with AsyncClient(url) as client:
            await client.upsert([{"id": id_, "text": "a", "title": repr(id_)} for id_ in AWKWARD], wait=True)
            read = [(await client.document(id_)).title for id_ in AWKWARD]
            await client.delete(ids=iter(AWKWARD), wait=True)
            return read

    assert asyncio.run(read_all()) == [repr(id_) for id_ in AWKWARD]
