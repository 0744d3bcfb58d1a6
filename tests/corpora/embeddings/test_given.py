"""Vectors of the user's own: read from a column or a file, checked, and stored as those of an encoder are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.embeddings.cache import ensure_features
from texthash.errors import CorpusError, TexthashError
from texthash.paths import StateDir

WIDTH, COUNT = 4, 40
RULE = SplitRule(kind="random", train=0.5, validation=0.25)
TEXTS = [f"document number {'abcdefgh'[row % 8] * 3} of many" for row in range(COUNT)]
VECTORS = np.random.default_rng(0).standard_normal((COUNT, WIDTH)).astype(np.float32)


def prepared(path: Path, home: Path, **settings: Any) -> PreparedCorpus:
    config = CorpusConfig(name="own", path=str(path), edition=Edition(name="e", split=RULE), shards=2, **settings)
    return PreparedCorpus.open(prepare_corpus(config, StateDir(home)))


def stored(corpus: PreparedCorpus, name: str) -> dict[str, list[float]]:
    found = {}
    for split in ("train", "validation", "test"):
        part = corpus.split(split)
        found |= dict(zip(part.ids, np.asarray(part.dense(name)).tolist(), strict=True))
    return found


def write_parquet(path: Path, values: Any, texts: list[str] = TEXTS, **columns: Any) -> Path:
    table = pa.table({"id": [f"d{row}" for row in range(len(texts))], "text": texts, "v": values, **columns})
    pq.write_table(table, path, row_group_size=7)
    return path


def write_jsonl(path: Path, values: list[Any]) -> Path:
    rows = [
        {"id": f"d{row}", "text": text, "v": value} for row, (text, value) in enumerate(zip(TEXTS, values, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


EXPECTED = {f"d{row}": vector.tolist() for row, vector in enumerate(VECTORS)}


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64(), WIDTH), pa.large_list(pa.float32()), pa.list_(pa.float16(), WIDTH)],
    ids=str,
)
def test_a_column_of_parquet_of_any_type_of_list(tmp_path: Path, kind: pa.DataType) -> None:
    exact = VECTORS.astype(np.float16) if kind.value_type == pa.float16() else VECTORS
    column = pa.array(list(exact), kind)
    corpus = prepared(write_parquet(tmp_path / "rows.parquet", column), tmp_path / "home")
    assert ensure_features(corpus, "column:v") == "column:v"
    assert stored(corpus, "column:v") == {f"d{row}": vector.tolist() for row, vector in enumerate(exact)}
    assert corpus.shape_with("column:v").dense == WIDTH
    assert corpus.shape_with("column:v").encoder == "column:v"


def test_a_column_of_jsonl_and_rows_that_are_left_out(tmp_path: Path) -> None:
    values = VECTORS.tolist()
    path = write_jsonl(tmp_path / "rows.jsonl", values)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "blank", "text": " ", "v": [1, 2, 3, 4]}) + "\n")
    corpus = prepared(path, tmp_path / "home")
    ensure_features(corpus, "column:v")
    assert stored(corpus, "column:v") == EXPECTED


def test_a_file_beside_the_rows_is_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    half = COUNT // 2
    for number, (some, first) in enumerate(((TEXTS[:half], 0), (TEXTS[half:], half))):
        rows = [{"id": f"d{first + row}", "text": text} for row, text in enumerate(some)]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file = tmp_path / "mine.npy"
    np.save(file, VECTORS)
    corpus = prepared(folder, tmp_path / "home")
    assert ensure_features(corpus, f"npy:{file}") == "npy:mine.npy"
    assert stored(corpus, "npy:mine.npy") == EXPECTED == stored(corpus, f"npy:{file}")
    assert ensure_features(corpus, f"npy:{file}") == "npy:mine.npy"
    np.save(file, VECTORS + 1)
    with pytest.raises(CorpusError, match=r"mine\.npy has changed since"):
        ensure_features(corpus, f"npy:{file}")
    limited = prepared(folder, tmp_path / "limited", limit=30)
    np.save(file, VECTORS)
    ensure_features(limited, f"npy:{file}")
    assert stored(limited, f"npy:{file}") == {id_: EXPECTED[id_] for id_ in list(EXPECTED)[:30]}


def changed(row: int, value: Any) -> list[Any]:
    values: list[Any] = VECTORS.tolist()
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (23, [1.0, 2.0, 3.0], r"rows.parquet:24: v is a list of 3 numbers, and of 4 in line 1"),
        (14, [1.0, 2.0, 3.0], r"rows.parquet:15: v is a list of 3 numbers, and of 4 in line 1"),
        (23, [1.0, float("nan"), 3.0, 4.0], r"rows.parquet:24: v has nan at position 1, which is no finite number"),
        (39, [1.0, 2.0, 3.0, float("-inf")], r"rows.parquet:40: v has -inf at position 3"),
        (0, [0.0, 0.0, 0.0, 0.0], r"rows.parquet:1: v is zero"),
        (8, None, r"rows.parquet:9: v is absent"),
        (8, [], r"rows.parquet:9: v is a list of 0 numbers"),
        (9, [1.0, None, 3.0, 4.0], r"rows.parquet:10: v has a null among its numbers"),
    ],
)
def test_a_wrong_vector_is_named_by_file_and_row(tmp_path: Path, row: int, value: Any, message: str) -> None:
    path = write_parquet(tmp_path / "rows.parquet", pa.array(changed(row, value), pa.list_(pa.float64())))
    corpus = prepared(path, tmp_path / "home")
    with pytest.raises(CorpusError, match=message):
        ensure_features(corpus, "column:v")
    with pytest.raises(CorpusError, match="no sentence vectors"):
        corpus.train.dense("column:v")  # nothing half-written is taken for whole


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.1 0.2", "rows.jsonl:6: v is the text '0.1 0.2', not a list of numbers"),
        ([1, True, 2, 3], r"rows.jsonl:6: v is a list .*, not a list of numbers"),
        (None, "rows.jsonl:6: v is absent, not a list"),
        ([1, 2, 3], "rows.jsonl:6: v is a list of 3 numbers, and of 4 in line 1"),
        ([1, 2, 3, 1e300], "rows.jsonl:6: v has inf at position 3"),
        ([1, 2, 3, 10**400], "rows.jsonl:6: v has a whole number that is larger than any float"),
    ],
)
def test_a_wrong_value_of_jsonl_too(tmp_path: Path, value: Any, message: str) -> None:
    corpus = prepared(write_jsonl(tmp_path / "rows.jsonl", changed(5, value)), tmp_path / "home")
    with pytest.raises(CorpusError, match=message):
        ensure_features(corpus, "column:v")


def test_sources_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", pa.array(list(VECTORS), pa.list_(pa.float32())), s=TEXTS)
    corpus = prepared(path, tmp_path / "home")
    with pytest.raises(CorpusError, match="there is no column 'w', only id, text, v, s"):
        ensure_features(corpus, "column:w")
    with pytest.raises(CorpusError, match="the column 's' is of string, not lists of numbers"):
        ensure_features(corpus, "column:s")
    file = tmp_path / "mine.npy"
    for array, message in (
        (VECTORS[:-1], "has 39 rows, and the corpus own was read from 40 documents"),
        (np.vstack([VECTORS, VECTORS]), "has 80 rows"),
        (VECTORS[:, 0], r"holds float32 of shape \(40,\)"),
        (VECTORS.astype(str), "holds <U32 of shape"),
        (np.where(np.arange(COUNT)[:, None] == 7, np.nan, VECTORS), "mine.npy: row 7 has nan at position 0"),
        (VECTORS.astype(np.float64) * 1e300, "mine.npy: row 0 has -?inf at position"),
        (VECTORS.astype(np.float64) * 1e-300, "mine.npy: row 0 is zero"),
    ):
        np.save(file, array)
        with pytest.raises(CorpusError, match=message):
            ensure_features(corpus, f"npy:{file}")
    with file.open("wb") as several:
        np.savez(several, VECTORS)
    with pytest.raises(CorpusError, match="is an archive of arrays"):
        ensure_features(corpus, f"npy:{file}")
    file.write_bytes(b"no array")
    with pytest.raises(CorpusError, match="cannot be read as an array"):
        ensure_features(corpus, f"npy:{file}")
    with pytest.raises(CorpusError, match="No such file"):
        ensure_features(corpus, f"npy:{tmp_path / 'absent.npy'}")
    texts = tmp_path / "texts"
    texts.mkdir()
    for row, text in enumerate(TEXTS):
        (texts / f"{row}.txt").write_text(text, encoding="utf-8")
    with pytest.raises(TexthashError, match="has no tables of your own with such a column"):
        ensure_features(prepared(texts, tmp_path / "texts-home"), "column:v")
