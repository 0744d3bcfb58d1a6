"""Concurrent searches and writes in a separate process; at the end every document is read and compared.

python -m benchmarks.mixed URL SECONDS READERS WRITERS PAUSE < bodies.jsonl > outcome.json
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus

from texthash.client import AsyncClient, ServiceError
from texthash.errors import TexthashError

LABEL = "soak"
_CHECKERS = 8
_WORDS = ("sort", "array", "table", "merge", "figure", "matrix", "parse", "date", "file", "index", "model", "value")


@dataclass
class Outcome:
    """Outcome of a load.

    Attributes:
        searches: (seconds since the start, seconds taken) of each successful search.
        writes: The same for each acknowledged write.
        refused: The same for each write that was rejected because the disk was full.
        failures: Answers to the other requests.
        documents: Number of acknowledged documents, written or deleted, that were checked at the end.
        wrong: Ids of those that differ from what was acknowledged.
    """

    searches: list[tuple[float, float]] = field(default_factory=list)
    writes: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    documents: int = 0
    wrong: list[str] = field(default_factory=list)


async def load(url: str, seconds: float, readers: int, writers: int, pause: float, queries: list[str]) -> Outcome:
    """Search and write for ``seconds``, each client with pauses of as many seconds, then check every document."""
    outcome, start = Outcome(), time.perf_counter()
    expected: dict[str, str | None] = {}

    async def timed(call: Awaitable[object], taken: list[tuple[float, float]]) -> bool | None:
        """Return whether the call succeeded; None if it was rejected because the disk was full."""
        await asyncio.sleep(pause)
        began = time.perf_counter()
        try:
            await call
        except ServiceError as error:
            if error.status != HTTPStatus.INSUFFICIENT_STORAGE:
                outcome.failures.append(error.problem)
                return False
            outcome.refused.append((began - start, time.perf_counter() - began))
            return None
        except TexthashError as error:
            outcome.failures.append(error.problem)
            return False
        taken.append((began - start, time.perf_counter() - began))
        return True

    async def read(worker: int) -> None:
        chosen = random.Random(worker)
        while time.perf_counter() - start < seconds:
            await timed(client.search(chosen.choice(queries)), outcome.searches)

    async def write(worker: int) -> None:
        """Write up to four documents, a third of which exist already, or delete some."""
        chosen, mine = random.Random(1000 + worker), 0
        while time.perf_counter() - start < seconds:
            count = chosen.randint(1, 4)
            numbers = {
                chosen.randrange(mine) if mine and chosen.random() < 0.3 else (mine := mine + 1) for _ in range(count)
            }
            ids = [f"{LABEL}/{worker}/{number}" for number in numbers]
            if mine > 20 and chosen.random() < 0.2:
                change: dict[str, str | None] = dict.fromkeys(ids)
                done = await timed(client.delete(ids=ids), outcome.writes)
            else:
                change = {id_: " ".join(chosen.choices(_WORDS, k=12)) for id_ in ids}
                documents = [{"id": id_, "text": text, "labels": [LABEL]} for id_, text in change.items()]
                done = await timed(client.upsert(documents), outcome.writes)
            for id_, text in change.items():
                if done:
                    expected[id_] = text
                elif done is False:  # the outcome of a failed write is unknown; a rejected one has no effect
                    expected.pop(id_, None)

    async def check(ids: list[str]) -> None:
        for id_ in ids:
            try:
                found: str | None = (await client.document(id_)).text
            except ServiceError as error:
                if error.status != 404:
                    raise
                found = None
            if found != expected[id_]:
                outcome.wrong.append(id_)

    async with AsyncClient(url) as client:
        await asyncio.gather(
            *(read(worker) for worker in range(readers)), *(write(worker) for worker in range(writers))
        )
        await client.delete(ids=[f"{LABEL}/none"], wait=True)
        ids = list(expected)
        outcome.documents = len(ids)
        await asyncio.gather(*(check(ids[part::_CHECKERS]) for part in range(_CHECKERS)))
        await client.delete(labels=[LABEL], wait=True)
    return outcome


if __name__ == "__main__":
    url, seconds, readers, writers, pause = sys.argv[1:]
    queries = [line.strip() for line in sys.stdin]
    print(json.dumps(asdict(asyncio.run(load(url, float(seconds), int(readers), int(writers), float(pause), queries)))))
