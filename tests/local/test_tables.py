"""Tables as a notebook has them: whole numbers as ids, missing titles and values, vectors in a column."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import texthash
from texthash.client import arguments
from texthash.corpora.prepared.embeddings.checks import as_vectors
from texthash.errors import UsageError
from texthash.integrations.metadata import join_metadata, split_metadata

FRAME = pd.DataFrame(
    {
        "id": [7, 8, 9],
        "text": ["sort an array", "read a csv file", "open a file"],
        "title": ["Sorting", None, float("nan")],
        "year": [2020, None, 2024],
        "published": pd.to_datetime(["2020-05-01", None, "2024-05-01"]),
    }
)


@pytest.fixture(scope="module")
def model(small_hasher: Path) -> Any:
    return texthash.load(small_hasher)


@pytest.mark.parametrize("table", [FRAME, pa.Table.from_pandas(FRAME)], ids=["pandas", "Arrow"])
def test_the_columns_of_a_table_make_an_index(model: Any, table: Any, tmp_path: Path) -> None:
    columns = ["year", "published"]
    attributes = table[columns] if isinstance(table, pd.DataFrame) else table.select(columns)
    made = texthash.Index(model, table["text"], ids=table["id"], titles=table["title"], attributes=attributes)
    made.save(tmp_path / "index")
    for index in (made, texthash.Index.open(tmp_path / "index")):
        assert [row["id"] for row in index.scroll()] == ["7", "8", "9"]
        first, second = index.get([7, "8"])
        assert (first.title, second.title) == ("Sorting", "")
        assert first.attributes == {"year": 2020, "published": datetime(2020, 5, 1, tzinfo=UTC)}
        assert type(first.attributes["published"]) is datetime
        assert second.attributes == {}
        assert index.count({"attributes": {"year": {"exists": False}}}) == 1
    assert made.delete(8) == 1
    made.upsert(["read a table"], ids=[9], titles=[None])
    assert [row["text"] for row in made.scroll()] == ["sort an array", "read a table"]


def test_a_column_of_decimals_is_one_of_numbers(model: Any) -> None:
    prices = pa.array([Decimal("9.50"), None, Decimal("3")], pa.decimal128(9, 2))
    for table in (pa.table({"price": prices}), pa.table({"price": prices}).to_pandas()):
        index = texthash.Index(model, FRAME["text"], attributes=table)
        assert [document.attributes for document in index.get(list("012"))] == [{"price": 9.5}, {}, {"price": 3}]
        assert index.count({"attributes": {"price": {"gte": Decimal("9.5")}}}) == 1
    assert arguments.body_of({"price": Decimal("9.50")}) == b'{"price": 9.5}'


def test_a_result_is_rows_of_a_table(model: Any) -> None:
    index = texthash.Index(
        model, FRAME["text"], ids=FRAME["id"], titles=FRAME["title"], labels=["a", "b", "c"], attributes=FRAME[["year"]]
    )
    found = index.search("sort an array", k=1)
    row = {"id": "7", "title": "Sorting", "text": "sort an array", "labels": ["a"], "attributes": {"year": 2020}}
    assert found.titles == ["Sorting"]
    assert found.rows() == [{**row, "distance": 0, "score": None}]
    assert pd.DataFrame(found.rows())["title"].tolist() == ["Sorting"]
    (scored,) = index.search("sorting", k=1, mode="keyword").rows()
    assert scored["id"] == "7"
    assert scored["score"] > 0


@pytest.mark.parametrize("wrong", [1.5, True, None, float("nan"), pd.NA])
def test_an_id_is_a_string_or_a_whole_number(model: Any, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"ids\[1\] is .*\n.*a string or a whole number"):
        texthash.Index(model, ["sort an array", "open a file"], ids=["a", wrong])


def test_judged_queries_and_documents_may_be_named_by_numbers(model: Any) -> None:
    texts = dict(zip(FRAME["id"], FRAME["text"], strict=True))
    named = {str(id_): text for id_, text in texts.items()}
    by_number = texthash.evaluate(model, {1: "sort an array", 2: "a file"}, texts, {1: [7], 2: [8, 9]}, k=2)
    by_name = texthash.evaluate(model, {"1": "sort an array", "2": "a file"}, named, {"1": ["7"], "2": ["8", "9"]}, k=2)
    assert by_number.queries == 2
    assert by_number == by_name
    table = pd.DataFrame({"itq": by_number.to_dict(), "again": by_name.to_dict()})
    assert table.loc["p_at_2_worst", "itq"] == by_number["p_at_2"].worst
    assert len(table) == 3 * len(by_number)


def test_nan_is_missing_in_attributes_of_the_client_and_in_metadata() -> None:
    row = {"id": "8", "text": "b", "title": math.nan, "attributes": {"year": math.nan, "language": "en"}}
    assert arguments.documents([row]) == [{"id": "8", "text": "b", "attributes": {"language": "en"}}]
    metadata, _ = join_metadata(*split_metadata({"year": math.nan, "language": "en"}))
    assert metadata == {"year": None, "language": "en"}


@pytest.mark.parametrize(
    "column",
    [pd.Series([np.array([1.0, 2.0]), [3, 4]]), pa.chunked_array([[[1.0, 2.0]], [[3.0, 4.0]]])],
    ids=["pandas", "Arrow"],
)
def test_a_column_of_vectors_is_a_matrix(column: Any) -> None:
    assert as_vectors(column).tolist() == [[1, 2], [3, 4]]


def test_vectors_that_a_method_does_not_read_are_refused() -> None:
    texts, vectors = ["sort an array", "read a csv file", "open a file"] * 10, np.eye(30)
    with pytest.raises(UsageError, match=r"nash does not read the vectors.*\n.*texthash"):
        texthash.train("nash", texts, vectors=vectors, bits=8, epochs=1)
    with pytest.raises(UsageError, match=r"rbsh does not read the vectors.*\n.*graph"):
        texthash.train("rbsh", texts, vectors=vectors, bits=8, epochs=1)


def test_a_model_of_vectors_says_so() -> None:
    model = texthash.train("itq", vectors=np.random.default_rng(0).normal(size=(30, 16)), bits=8)
    assert repr(model) == "Hasher(itq, 8 bits, vectors of 16 numbers)"
