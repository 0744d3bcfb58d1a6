"""Attributes of a corpus: named columns, in every format, kept by preparation and index."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.api.attributes import from_json
from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers import fields
from texthash.corpora.readers.attributes import attribute
from texthash.errors import CorpusError
from texthash.paths import StateDir

WORDS = ("sort", "array", "list", "open", "file", "plot", "graph", "table", "read", "csv")
DAY = datetime(2024, 5, 1, tzinfo=UTC)


def rows(count: int = 40) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "text": " ".join(WORDS[(number + step) % len(WORDS)] for step in range(4)),
            "year": 2000 + number if number % 3 else None,
            "free": number % 2 == 0,
            "day": "2024-05-01",
        }
        for number in range(count)
    ]


def prepared(
    tmp_path: Path, name: str, made: list[dict[str, Any]], attributes: list[str], **more: Any
) -> PreparedCorpus:
    path = tmp_path / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    elif path.suffix == ".csv":
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in made]
        path.write_text("\n".join([",".join(made[0]), *lines]))
    else:
        pq.write_table(pa.Table.from_pylist(made), path)
    config = CorpusConfig.model_validate(
        {"name": "own", "path": str(path), "attributes": attributes, "shards": 2, **more}
    )
    return PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("rows.jsonl", ["year", "free", "day:date"]),
        ("rows.csv", ["year:number", "free:boolean", "day:date"]),
        ("rows.parquet", ["year", "free", "day:date"]),
    ],
)
def test_preparation_keeps_the_columns(tmp_path: Path, name: str, attributes: list[str]) -> None:
    corpus = prepared(tmp_path, name, rows(), attributes)
    assert corpus.manifest.attributes == {"year": "number", "free": "boolean", "day": "date"}
    found = {
        id_: from_json(own)
        for split in ("train", "validation", "test")
        for table in corpus.split(split).documents()
        for id_, own in zip(table["id"].to_pylist(), table["attributes"].to_pylist(), strict=True)
    }
    expected = {
        row["id"]: {"free": row["free"], "day": DAY} | ({"year": float(row["year"])} if row["year"] else {})
        for row in rows()
    }
    assert found == expected


def test_without_named_columns_nothing_changes(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, "rows.jsonl", rows(), [])
    assert corpus.manifest.attributes == {}
    assert "attributes" not in json.loads((corpus.path / "manifest.json").read_text())
    assert next(corpus.train.documents()).column_names == ["id", "text", "title", "labels"]


def test_a_changing_type_names_both_rows(tmp_path: Path) -> None:
    made = rows()
    made[30]["year"] = "n/a"
    with pytest.raises(CorpusError, match=r"rows.jsonl:31: year is a string, but a number in .*rows.jsonl:2"):
        prepared(tmp_path, "rows.jsonl", made, ["year"])
    corpus = prepared(tmp_path, "rows.jsonl", made, ["year:string"])
    assert corpus.manifest.attributes == {"year": "string"}


def test_a_column_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus.attributes=\[yaer\], but no document has a value of yaer"):
        prepared(tmp_path, "rows.jsonl", rows(), ["yaer"])
    with pytest.raises(CorpusError, match="there is no column 'yaer'"):
        prepared(tmp_path, "rows.csv", rows(), ["yaer"])
    with pytest.raises(CorpusError, match=r"corpus.columns.title=headline, but no document has a value of headline"):
        prepared(tmp_path, "rows.jsonl", rows(), [], columns={"title": "headline"})


@pytest.mark.parametrize("wrong", ["year:int", "labels", "a b", ":date", ["year", "year:string"]])
def test_columns_are_named_plainly(wrong: Any) -> None:
    with pytest.raises(ValueError, match="attributes"):
        CorpusConfig.model_validate({"attributes": wrong})


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (None, None, None),
        (float("nan"), "number", None),
        ("", "date", None),
        (3, None, 3.0),
        (Decimal("2.5"), None, 2.5),
        (True, None, True),
        (date(2024, 5, 1), None, DAY),
        (datetime(2024, 5, 1), None, DAY),
        ({"date": "2024-05-01"}, None, DAY),
        ("2024-05-01", None, "2024-05-01"),
        (" 1e3 ", "number", 1000.0),
        ("TRUE", "boolean", True),
        (2024, "string", "2024"),
    ],
)
def test_cells_become_values(value: Any, kind: Any, expected: Any) -> None:
    assert attribute(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        ("1_000", "number", "is the text '1_000', not a number"),
        ("inf", "number", "not a number"),
        ("9007199254740993", "number", "beyond"),
        (1, "boolean", "not a boolean"),
        ("yes", "boolean", "not a boolean"),
        ("1.5.2024", "date", "is the date '1.5.2024', which is not in the form"),
        (float("inf"), None, "not a finite number"),
        ([1], None, "is a list"),
        ({"a": 1}, None, "is an object"),
        (2.5, "string", "not text or a whole number"),
    ],
)
def test_other_cells_are_refused(value: Any, kind: Any, problem: str) -> None:
    with pytest.raises(fields.FieldError, match=problem):
        attribute(value, kind)


@pytest.mark.parametrize(
    ("value", "column", "remedy"),
    [
        ("106,0", "year:number", "with a point"),
        ("1. Mai", "year:date", "2024-05-01"),
        ("ja", "year:boolean", "true or false"),
        ({"cm": 3}, "year", "a column of each member"),
        ([1, 2], "year", "name a list as labels"),
    ],
    ids=str,
)
def test_the_remedy_is_about_the_value(tmp_path: Path, value: Any, column: str, remedy: str) -> None:
    made = [{**row, "year": value if row["id"] == "3" else None} for row in rows()]
    with pytest.raises(CorpusError) as refused:
        prepared(tmp_path, "a.jsonl", made, [column])
    assert remedy in refused.value.remedy
