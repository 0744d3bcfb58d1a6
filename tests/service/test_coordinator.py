"""The coordinator calls encoder and shards as often as a request needs."""

from __future__ import annotations

import asyncio

import pytest

from texthash.config import LimitsConfig
from texthash.index.releases.release import OpenRelease
from texthash.service.coordinator import Coordinator
from texthash.service.replicas.encoder import Encoded, LocalEncoder, Texts
from texthash.service.replicas.shard import ShardServer


class Counted(LocalEncoder):
    """Encoder that keeps the texts of its calls."""

    def __init__(self, root: str, release: str) -> None:
        super().__init__(root, release)
        self.calls: list[tuple[str, ...]] = []

    async def encode(self, call: Texts) -> Encoded:
        self.calls.append(call.texts)
        return await super().encode(call)


@pytest.mark.parametrize("options", [{}, {"logits": True}, {"margins": True}], ids=str)
def test_texts_are_encoded_once(released, opened: OpenRelease, options: dict[str, bool]) -> None:
    root, name = str(released.root), opened.release.name
    encoder = Counted(root, name)
    shards = [ShardServer(root, name, number) for number in range(len(opened.shards))]
    coordinator = Coordinator(opened.release, LimitsConfig(), encoder, shards)
    release, encoded = asyncio.run(coordinator.encode(["sort an array", "read a file"], "document", **options))
    assert release == opened.release
    assert len(encoded.codes) == 2
    assert encoder.calls == [("sort an array", "read a file")]
