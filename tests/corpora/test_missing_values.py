"""Missing values in each column of each format: they are missing, left out or counted, and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.config import CorpusConfig
from texthash.corpora.preparation.report import card, render
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.manifest import Manifest
from texthash.corpora.readers.rows import Columns, Table
from texthash.deployment.row_files import check_rows
from texthash.errors import CorpusError
from texthash.paths import StateDir

_WORDS = [
    "open",
    "sum",
    "query",
    "path",
    "array",
    "file",
    "tree",
    "lock",
    "json",
    "table",
    "process",
    "node",
    "plot",
    "vector",
    "string",
    "sort",
]
_ROWS: list[dict[str, Any]] = [
    {
        "id": f"d{i}",
        "text": " ".join(_WORDS[(i + j) % len(_WORDS)] for j in range(9)),
        "title": f"t{i}",
        "label": "ab"[i % 2],
        "year": 2000 + i,
    }
    for i in range(40)
]
# Rows without a value, by column.
_GAPS = {
    "id": range(2),
    "text": range(7, 10),
    "title": range(14, 18),
    "label": range(21, 26),
    "year": range(28, 34),
}
_WITH_GAPS = [
    {name: None if number in _GAPS[name] else value for name, value in row.items()} for number, row in enumerate(_ROWS)
]


def _jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in _WITH_GAPS), encoding="utf-8")


def _without_members(path: Path) -> None:
    rows = ({name: value for name, value in row.items() if value is not None or name == "text"} for row in _WITH_GAPS)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _numpy(path: Path) -> None:
    columns = {name: [np.nan if row[name] is None else row[name] for row in _WITH_GAPS] for name in _GAPS}
    pd.DataFrame(columns).to_parquet(path)


FORMATS: dict[str, Callable[[Path], object]] = {
    "parquet": lambda path: pq.write_table(pa.Table.from_pylist(_WITH_GAPS), path),
    "nullable.parquet": lambda path: pd.DataFrame(_WITH_GAPS).convert_dtypes().to_parquet(path),
    "arrow.parquet": lambda path: pd.DataFrame(_WITH_GAPS).convert_dtypes(dtype_backend="pyarrow").to_parquet(path),
    "nan.parquet": _numpy,
    "jsonl": _jsonl,
    "short.jsonl": _without_members,
    "csv": lambda path: pd.DataFrame(_WITH_GAPS).to_csv(path, index=False),
    "tsv": lambda path: pd.DataFrame(_WITH_GAPS).to_csv(path, index=False, sep="\t"),
}


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / f"rows.{request.param}"
    FORMATS[request.param](made)
    return made


def test_prepare_leaves_out_or_counts_what_is_missing(path: Path, tmp_path: Path) -> None:
    config = CorpusConfig(name="gaps", path=str(path), attributes=("year:number",))
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    manifest = Manifest.read(corpus.path)
    assert manifest.dropped == {"empty": 3}
    assert manifest.remarks == {"no id: named by file and line": 2, "no title": 4, "no label": 5, "no year": 6}
    assert manifest.label_names == ["a", "b"]
    assert "kept with a remark: 4 (no title)" in render(card(corpus, None))


def test_upsert_refuses_a_missing_text_and_names_missing_ids(
    path: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match="the document 'd7' has no text"):
        check_rows(Table(path, columns=Columns(attributes=())), 1_000)
    kept = tmp_path / "with-texts.jsonl"
    kept.write_text("".join(json.dumps(row) + "\n" for row in _WITH_GAPS if row["text"]), encoding="utf-8")
    check_rows(Table(kept), 1_000)
    assert (
        f"2 of 37 rows of {kept} have no id and are named by file and line, such as 'with-texts.jsonl:1'" in caplog.text
    )


def test_a_table_without_ids_is_nothing_to_remark(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in _ROWS), encoding="utf-8")
    manifest = Manifest.read(prepare_corpus(CorpusConfig(name="bare", path=str(path)), StateDir(tmp_path / "home")))
    assert manifest.remarks == {}
    check_rows(Table(path), 1_000)
    assert "have no id" not in caplog.text


@pytest.mark.parametrize("vector", [None, [], [1.0, None], [None]])
def test_a_missing_vector_is_named_by_its_row(vector: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{**row, "vector": [0.5, float(number)]} for number, row in enumerate(_ROWS)]
    rows[4]["vector"] = vector
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(CorpusError, match=rf"{path}:5: vector is .*not a list of numbers"):
        check_rows(Table(path, columns=Columns(vector="vector")), 1_000)
