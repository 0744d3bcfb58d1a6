"""The distance that chance reaches: measured on the served index, by searches for texts that mean nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from tests.service.conftest import SHARDS, Asked
from texthash.config import LimitsConfig
from texthash.index.releases.release import OpenRelease
from texthash.paths import StateDir
from texthash.service.chance import ChanceDistance, random_texts
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

Coordinators = Callable[[LimitsConfig], Coordinator]


def within(coordinator: Coordinator) -> int | None:
    return asyncio.run(ChanceDistance(coordinator).within(20))


def test_half_of_the_texts_of_random_words_find_a_document_as_near(coordinator: Coordinators, asked: Asked) -> None:
    served = coordinator(LimitsConfig())
    distance = within(served)
    assert distance is not None
    texts = random_texts(asyncio.run(served.sample(256)))
    replies = [asked.search({"text": text}, limit=1).json()["results"][0]["hits"] for text in texts]
    nearest = np.array([hits[0]["distance"] for hits in replies if hits])
    assert (nearest <= distance).mean() >= 0.5
    assert (nearest < distance).mean() <= 0.5
    assert asked.get("/v1/info").json()["index"]["chance_distance"] == distance


def test_a_document_is_nearer_to_its_own_text_than_chance(coordinator: Coordinators, asked: Asked) -> None:
    distance = within(coordinator(LimitsConfig()))
    (result,) = asked.search({"text": "plot"}, limit=1, fields=["text"]).json()["results"]
    text = result["hits"][0]["document"]["text"]
    assert asked.search({"text": text}, limit=1).json()["results"][0]["hits"][0]["distance"] <= distance


def test_words_of_random_texts_come_from_different_documents() -> None:
    documents = [f"{name}one {name}two {name}three" for name in ("a", "b", "c", "d", "e", "f")]
    texts = random_texts(documents)
    assert texts == random_texts(documents)
    assert all(len({word[0] for word in text.split()}) == len(text.split()) for text in texts)
    assert random_texts(["only one text", "", "the of and"]) == []


def test_it_is_measured_once_for_an_index(coordinator: Coordinators, monkeypatch: pytest.MonkeyPatch) -> None:
    served = coordinator(LimitsConfig())
    searches = []
    search = served.search

    async def counted(requests):
        searches.append(requests)
        return await search(requests)

    monkeypatch.setattr(served, "search", counted)
    chance = ChanceDistance(served)

    async def several() -> list[int | None]:
        return list(await asyncio.gather(*(chance.within(20) for _ in range(5))))

    first = asyncio.run(several())
    assert len({*first, *asyncio.run(several())}) == len(searches) == 1


def test_info_does_not_wait_for_it_and_knows_it_later(coordinator: Coordinators) -> None:
    chance = ChanceDistance(coordinator(LimitsConfig()))

    async def twice() -> tuple[int | None, int | None]:
        return await chance.within(0), await chance.within(20)

    early, late = asyncio.run(twice())
    assert early is None
    assert late is not None


def test_it_is_measured_after_a_shard_has_come_back(
    released: StateDir, opened: OpenRelease, encoder: LocalEncoder, shards: list[ShardServer]
) -> None:
    class Flickering(ShardServer):
        """A shard that is away until told otherwise."""

        there = False

        async def sample(self, release: str, count: int) -> list[str]:
            if not self.there:
                raise Problem("shard-unavailable", "shard 1 is away", shard=1)
            return await super().sample(release, count)

    shard = Flickering(str(released.root), opened.release.name, SHARDS - 1)
    asked = Asked(make_app(Coordinator(opened.release, LimitsConfig(), encoder, [*shards[:-1], shard])))
    assert asked.get("/v1/info").json()["index"]["chance_distance"] is None
    shard.there = True
    assert asked.get("/v1/info").json()["index"]["chance_distance"] is not None
