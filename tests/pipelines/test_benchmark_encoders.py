"""The benchmark of the engines of a sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.corpora.embeddings.conftest import save_transformer
from tests.pipelines.benchmark import run

pytest.importorskip("onnxruntime", reason="pip install 'texthash[text]'")


def encoders(tmp_path: Path, lines: str, *arguments: str) -> CompletedProcess[str]:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(lines)
    return run("encoders", "--texts", texts, *arguments, "--json", "-", TEXTHASH_CACHE=tmp_path / "cache")


def test_each_engine_has_a_row_beside_pytorch(tmp_path: Path) -> None:
    folder = save_transformer(tmp_path / "model", width=32)
    lines = "\n".join(json.dumps({"text": text}) for text in ("data array", "the index of the frame", "array"))
    ended = encoders(tmp_path, lines, "--encoder", f"{folder}[8]", "--rounds", "1")
    assert ended.returncode == 0, ended.stderr
    rows = {row["engine"]: row for row in json.loads(ended.stdout)["rows"]}
    assert set(rows) == {"torch", "int8", "float32"}
    assert rows["torch"]["times_pytorch"] == 1
    assert rows["float32"]["worst_cosine"] == pytest.approx(1, abs=1e-4)
    assert 0.99 < rows["int8"]["worst_cosine"] <= rows["int8"]["mean_cosine"] <= 1
    assert all(row["documents_per_second"] > 0 and row["query_ms"] > 0 for row in rows.values())


def test_a_file_without_texts_is_refused(tmp_path: Path) -> None:
    ended = encoders(tmp_path, '{"title": "no text"}\n')
    assert ended.returncode == 2
    assert "has no line with a text" in ended.stderr
