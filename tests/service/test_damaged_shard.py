"""A shard in the ingress that cannot be opened: partial answers, refusals, and its return."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.service.conftest import Asked
from texthash.config import LimitsConfig
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.storage.document_map import FOLDER
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.placement import LocalShard
from texthash.service.problems import Problem
from texthash.service.replicas.encoder import LocalEncoder

QUERY = {"text": "sort the values of an array"}


def served(home: StateDir, retry_s: float = 0.0) -> tuple[Coordinator, Asked]:
    """The service of the current release with local shards."""
    release = read_release(home)
    shards = [LocalShard(home.name, release.name, number, 2**30, retry_s) for number in range(len(release.shards))]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(home.name, release.name), shards)
    return coordinator, Asked(make_app(coordinator))


def map_of(home: StateDir, number: int, release: str = "current") -> Path:
    (found,) = (home.path(read_release(home, release).shards[number].uri) / FOLDER).iterdir()
    return found


@pytest.mark.parametrize("damage", ["truncated", "manifest", "gone"])
def test_a_damaged_shard_is_missing_and_comes_back(home: StateDir, damage: str) -> None:
    _, asked = served(home)
    whole = asked.search(QUERY, limit=50).json()["results"]
    path = home.path(read_release(home).shards[1].uri)
    kept = Path(shutil.copytree(path, path.with_name("kept")))
    if damage == "truncated":
        found = map_of(home, 1)
        found.write_bytes(found.read_bytes()[:-100])
    elif damage == "manifest":
        (path / "manifest.json").write_text("{")
    else:
        shutil.rmtree(path)

    coordinator, asked = served(home)
    refused = asked.search(QUERY)
    assert refused.status_code == 503
    problem = refused.json()
    assert problem["type"].endswith("/shard-unavailable")
    assert problem["shard"] == 1
    assert "shard 1 of release r000001 cannot be opened" in problem["detail"]
    partial = asked.search(QUERY, allow_partial=True, limit=50)
    assert partial.status_code == 200
    assert partial.json()["missing_shards"] == [1]
    found = [hit["id"] for hit in partial.json()["results"][0]["hits"]]
    assert len(found) > 0
    assert asyncio.run(coordinator.ready(5.0)) == (True, [1])
    assert asked.get("/health/ready").status_code == 503
    assert asked.get("/health/live").status_code == 200

    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(kept, path)
    assert asked.search(QUERY, limit=50).json()["results"] == whole
    assert asyncio.run(coordinator.ready(5.0)) == (True, [])


def test_a_damaged_shard_is_not_opened_at_every_request(home: StateDir) -> None:
    found = map_of(home, 1)
    whole = found.read_bytes()
    found.write_bytes(whole[:-100])
    _, asked = served(home, retry_s=60.0)
    found.write_bytes(whole)
    assert asked.search(QUERY).status_code == 503, "the next attempt is a minute away"


def test_a_health_check_opens_what_has_been_repaired(home: StateDir) -> None:
    found = map_of(home, 1)
    whole = found.read_bytes()
    found.write_bytes(whole[:-100])
    shard = LocalShard(home.name, "r000001", 1, 2**30, 0.0)
    asyncio.run(shard.self_test())
    found.write_bytes(whole)
    asyncio.run(shard.self_test())
    assert shard._shards.names == ["r000001"]


def test_a_release_with_a_damaged_shard_is_not_followed(home: StateDir) -> None:
    coordinator, asked = served(home)
    first = read_release(home)
    shutil.copytree(home.path(first.index_uri), home.index / "next")
    publish(home, Path(home.path(first.model_uri)), home.index / "next")
    following = read_release(home)
    found = map_of(home, 0)
    found.write_bytes(found.read_bytes()[:-100])
    with pytest.raises(Problem, match=f"shard 0 of release {following.name} cannot be opened"):
        asyncio.run(coordinator.follow(following))
    assert asked.search(QUERY).json()["release"] == first.name
