"""kill -9 of the node that holds the program of a service and one of its two ingresses, while clients search."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.deploy.nodes import HEAD, QUERIES, Asking, Cluster, nodes, until
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.writing.build import build_index
from texthash.paths import resolve_home

URL = f"http://{HEAD}:8000"
CLIENTS = 4
# Twice as long as a request may take; the loss of a node is noticed in less.
GOES_ON_S = 60

pytestmark = [pytest.mark.usefixtures("reader"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]


class Clients(Asking):
    """Clients that each search again and again, with the time and the hits, or the error, of each answer."""

    def __init__(self) -> None:
        super().__init__(self._search, range(CLIENTS), lambda answer: 0.05 if isinstance(answer, list) else 0.5)
        self.answers: list[tuple[float, list[str] | str]] = []
        self._clients = [httpx.Client(timeout=40) for _ in range(CLIENTS)]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for client in self._clients:
            client.close()

    def since(self, began: float) -> list[list[str] | str]:
        return [answer for ended, answer in self.answers if ended >= began]

    def _search(self, number: int) -> list[str] | str:
        answer = _answer(self._clients[number])
        self.answers.append((time.monotonic(), answer))
        return answer


def _answer(client: httpx.Client) -> list[str] | str:
    try:
        body = {"queries": [{"text": QUERIES[0]}], "mode": "semantic"}
        reply = client.post(f"{URL}/v1/search", json=body)
    except httpx.HTTPError as error:
        return repr(error)
    if reply.status_code != 200:
        return f"{reply.status_code} {reply.text}"
    return [hit["id"] for hit in reply.json()["results"][0]["hits"]]


def test_searches_go_on_without_the_node_of_the_program_and_of_an_ingress(
    two_nodes: Cluster, small_corpus: PreparedCorpus, small_hasher: Path, tmp_path: Path
) -> None:
    home = resolve_home(two_nodes.home)
    publish(home, small_hasher, build_index(small_hasher, small_corpus.path, home, shards=2))
    settings = ("service.host=0.0.0.0", "service.ingress_replicas=2", "service.max_replicas_per_node=1")
    two_nodes.texthash("serve", "--address", "auto", "--python-proxy", *settings, node=2)
    with httpx.Client(timeout=40) as client:
        until(lambda: isinstance(_answer(client), list), 60, "the service does not answer")
    with Clients() as clients:
        until(lambda: len(clients.answers) > 40, 60, f"too few answers: {clients.answers[-3:]}")
        before = clients.since(0)
        lost = time.monotonic()
        nodes("kill", "2")
        time.sleep(GOES_ON_S)
        calm = time.monotonic()
        until(lambda: len(clients.since(calm)) > 40, 60, f"searches do not go on: {clients.answers[-3:]}")
    failed = [answer for answer in clients.since(lost) if isinstance(answer, str)]
    assert all(answer == before[0] for answer in (*before, *clients.since(calm))), "the same hits before and after"
    assert all(answer == before[0] for answer in clients.since(lost) if isinstance(answer, list)), "and meanwhile"
    assert len(failed) <= CLIENTS, f"at most the requests in flight fail: {len(failed)}: {failed[:8]}"
    # Writes go on too: their writer is started on a node that is left.
    until(lambda: _written() == 200, 180, "no write is accepted")


def _written() -> int:
    documents = [{"id": "mine/1", "text": "sort the values of an array of zebras"}]
    try:
        return httpx.put(f"{URL}/v1/documents?wait=true", json={"documents": documents}, timeout=40).status_code
    except httpx.HTTPError:
        return 0
