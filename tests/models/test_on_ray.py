"""Bulk encoding on Ray: the bytes of one process, whatever the number of workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from texthash.corpora.document import Document
from texthash.corpora.text_sources import open_texts
from texthash.errors import CorpusError
from texthash.executor import LocalExecutor, RayExecutor
from texthash.models.bulk_encode import encode_texts
from texthash.paths import StateDir

pytestmark = pytest.mark.ray


def test_bytes_are_those_of_one_process(
    ray_cluster: Any, small_hasher: Path, small_documents: list[Document], tmp_path: Path
) -> None:
    (tmp_path / "rows").mkdir()
    for number in range(5):  # each file is a part
        lines = (json.dumps({"id": d.id, "text": d.text}) + "\n" for d in small_documents[number::5])
        (tmp_path / "rows" / f"{number}.jsonl").write_text("".join(lines))
    texts, written = open_texts(str(tmp_path / "rows"), StateDir(tmp_path)), {}
    for name, workers in (("alone", 0), ("one", 1), ("two", 2)):
        executor = RayExecutor(workers) if workers else LocalExecutor()
        found = encode_texts(small_hasher, texts, tmp_path / name, executor=executor)
        assert found.documents == len(small_documents)
        written[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert written["one"] == written["two"] == written["alone"]


def test_an_error_of_a_worker_arrives_as_itself(ray_cluster: Any, small_hasher: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "sort"}\n{"text": 3}\n')
    texts = open_texts(str(tmp_path / "rows.jsonl"), StateDir(tmp_path))
    with pytest.raises(CorpusError, match=r"rows\.jsonl:2: text is the number 3"):
        encode_texts(small_hasher, texts, tmp_path / "codes", executor=RayExecutor(1))
