"""An index that is built from a corpus in an object store: what is read of the corpus does not grow with the shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.io.conftest import Node
from tests.io.store import Store
from texthash.config import CorpusConfig
from texthash.corpora.document import SPLITS
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.index.storage.shard_format import read_index
from texthash.index.writing.build import build_index


@pytest.mark.parametrize("shards", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_the_files_of_the_corpus_are_received_once(
    store: Store, node: Node, small_config: CorpusConfig, small_hasher: Path, shards: int
) -> None:
    home = node("one")
    corpus = PreparedCorpus.open(prepare_corpus(small_config, home))
    files = {path.path: path.stat().st_size for name in SPLITS for path in corpus.split(name).shards}  # type: ignore[attr-defined]
    store.sent.clear()
    index = build_index(small_hasher, corpus.path, home, shards=shards)
    assert sum(manifest.documents for manifest in read_index(index)) == sum(corpus.manifest.documents.values())
    received = {name: store.sent[f"/{name}"] for name in files}
    # The end of a file, up to 64 KiB, is received twice more: it says where columns lie, and how many rows there are.
    assert all(0 < got <= files[name] + 3 * min(files[name], 2**16) for name, got in received.items()), received
