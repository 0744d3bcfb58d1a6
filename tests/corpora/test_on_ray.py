"""Preparation on Ray: the bytes of one process, whatever the number of workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from texthash.config import CorpusConfig, Edition
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.errors import CorpusError
from texthash.executor import RayExecutor
from texthash.paths import StateDir

pytestmark = pytest.mark.ray


def test_bytes_are_those_of_one_process(
    ray_cluster: Any, small_documents: list[Document], tmp_path: Path, contents: Callable[[Path], dict[str, str]]
) -> None:
    rows = [{"id": d.id, "text": d.text, "labels": d.labels} for d in small_documents]
    (tmp_path / "rows").mkdir()
    for number in range(7):  # each file is a part
        lines = (json.dumps(row) + "\n" for row in rows[number::7])
        (tmp_path / "rows" / f"{number}.jsonl").write_text("".join(lines))
    config = CorpusConfig(name="own", path=str(tmp_path / "rows"), edition=Edition(vocabulary_size=500), shards=3)
    alone = contents(prepare_corpus(config, StateDir(tmp_path / "alone")))
    for workers in (1, 2):
        assert contents(prepare_corpus(config, StateDir(tmp_path / str(workers)), RayExecutor(workers))) == alone


def test_an_error_of_a_worker_arrives_as_itself(ray_cluster: Any, tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"word{i} text"} for i in range(20)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "broken.jsonl").write_text(lines + '{"id": "20"}\n')
    config, executor = CorpusConfig(name="own", path=str(tmp_path / "broken.jsonl")), RayExecutor()
    with pytest.raises(CorpusError, match=r"broken\.jsonl:21"):
        prepare_corpus(config, StateDir(tmp_path / "home"), executor)
    (tmp_path / "rows.jsonl").write_text(lines)
    config = CorpusConfig(name="own", path=str(tmp_path / "rows.jsonl"), edition=Edition(min_df=50))
    with pytest.raises(CorpusError, match="no word"):
        prepare_corpus(config, StateDir(tmp_path / "home"), executor)
    assert not StateDir(tmp_path / "home").corpus("own", "random60").exists()
