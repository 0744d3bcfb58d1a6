"""The writer of a service, called in this process."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from texthash.api.filters import Filter
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.releases.publish import publish
from texthash.index.releases.release import read_release
from texthash.index.writing.build import build_index
from texthash.index.writing.writer_lock import IndexLockedError, WriterLock
from texthash.paths import StateDir
from texthash.service.replicas.writer import Compact, Delete, WriterServer


def test_an_index_that_is_not_current_any_more_is_let_go(
    released: StateDir, small_corpus: PreparedCorpus, tmp_path: Path
) -> None:
    home = StateDir(Path(shutil.copytree(released.root, tmp_path / "home")))
    before = read_release(home)
    server = WriterServer(str(home.root), "http://127.0.0.1:9")

    async def use() -> None:
        deleted, compacted = await server.write_many([Delete(given=Filter(labels=["no such"])), Compact()])
        assert (deleted.documents, compacted.documents) == (0, before.documents)
        await server.close_outdated_writer()
        with pytest.raises(IndexLockedError, match="the service at"):
            WriterLock(home, before.index_uri).acquire()
        model = home.path(before.model_uri)
        publish(home, model, build_index(model, small_corpus.path, home, shards=1))
        await server.close_outdated_writer()
        fence = WriterLock(home, before.index_uri)
        fence.acquire()
        fence.release()

    asyncio.run(use())
