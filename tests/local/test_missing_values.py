"""Missing values of NumPy, pandas and Arrow at every Python door: missing or an error, never what a mask hides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import texthash
from texthash.api.missing import is_missing
from texthash.client import arguments
from texthash.corpora.prepared.embeddings.checks import as_vectors
from texthash.errors import TexthashError, UsageError

TEXTS = ["sort an array", "read a csv file"]
MASKED_TEXTS: list[Any] = [
    np.ma.array(TEXTS, mask=[0, 1]),
    pd.Series(["sort an array", None]),
    pd.Series(["sort an array", pd.NA], dtype="string"),
    pa.array(["sort an array", None]),
    pa.chunked_array([["sort an array"], [None]]),
    ["sort an array", np.ma.masked],
    ["sort an array", float("nan")],
    ["sort an array", pd.NaT],
]
MASKED_VECTORS: list[Any] = [
    np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [0, 1]]),
    [np.ma.array([1.0, 2.0], mask=[0, 1]), [3.0, 4.0]],
    np.array([[1.0, None], [3.0, 4.0]], object),
    np.array([[1.0, np.nan], [3.0, 4.0]]),
    pd.DataFrame({"a": pd.array([1.0, None], "Float64"), "b": [1.0, 2.0]}),
    pa.array([[1.0, 2.0], [3.0, None]]),
    [[1.0, pd.NA], [3.0, 4.0]],
    torch.tensor([[1.0, float("nan")], [3.0, 4.0]]),
    torch.ones(2, 2, requires_grad=True),
]
NONE: list[Any] = [None, pd.NA, pd.NaT, np.ma.masked, pa.scalar(None, pa.string()), pa.scalar(None, pa.int64())]


@pytest.fixture(scope="module")
def model(small_hasher: Path) -> Any:
    return texthash.load(small_hasher)


@pytest.mark.parametrize("texts", MASKED_TEXTS, ids=lambda texts: type(texts).__name__)
def test_a_missing_text_is_named(model: Any, texts: Any) -> None:
    for act in (
        lambda: texthash.Index(model, texts),
        lambda: texthash.Index(model, TEXTS, ids=texts),
        lambda: model.encode(texts),
        lambda: texthash.train("pcah", texts, bits=8),
        lambda: texthash.evaluate(model, texts, TEXTS, {"0": ["0"]}),
        lambda: arguments.texts(texts, "inputs"),
        lambda: arguments.queries(texts),
    ):
        with pytest.raises(TexthashError, match=r"remedy: "):
            act()


@pytest.mark.parametrize("vectors", MASKED_VECTORS, ids=lambda vectors: type(vectors).__name__)
def test_a_missing_number_of_a_vector_is_an_error(vectors: Any) -> None:
    with pytest.raises(UsageError, match=r"remedy: "):
        as_vectors(vectors)
    with pytest.raises(UsageError, match=r"remedy: "):
        texthash.train("itq", TEXTS, vectors=vectors, bits=8)


def test_what_is_under_a_mask_that_hides_nothing_is_read() -> None:
    assert as_vectors(np.ma.array([[1.0, 2.0]], mask=False)).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("value", [[1.0, np.ma.masked], np.ma.array([1.0, 2.0], mask=[0, 1]), [1.0, pd.NA], [np.nan]])
def test_a_vector_of_the_client(value: Any) -> None:
    with pytest.raises(UsageError, match=r"vector\[\d\] is .* not a finite number"):
        arguments.vector(value, "vector")
    with pytest.raises(UsageError, match="not a finite number"):
        arguments.documents([{"id": "a", "vector": value}])


@pytest.mark.parametrize("none", [*NONE, float("nan"), np.float32("nan")], ids=repr)
def test_a_document_with_a_missing_label_has_none(model: Any, none: Any) -> None:
    index = texthash.Index(model, TEXTS, labels=["a", none])
    assert [document.labels for document in index.get(["0", "1"])] == [["a"], []]
    assert is_missing(none)


@pytest.mark.parametrize("none", NONE, ids=repr)
def test_a_missing_value_within_labels_is_an_error(model: Any, none: Any) -> None:
    with pytest.raises(UsageError, match=r"labels\[1\] holds"):
        texthash.Index(model, TEXTS, labels=["a", ["b", none]])
    with pytest.raises(UsageError, match=r"labels.*\[1\]"):
        arguments.documents([{"id": "a", "text": "b", "labels": ["b", none]}])


@pytest.mark.parametrize("none", NONE, ids=repr)
def test_an_attribute_that_is_missing_is_not_there(model: Any, none: Any) -> None:
    index = texthash.Index(model, TEXTS, attributes=[{"year": 2020, "city": none}, {"year": none}])
    assert [document.attributes for document in index.get(["0", "1"])] == [{"year": 2020}, {}]
    (document,) = arguments.documents([{"id": "a", "text": "b", "attributes": {"year": none, "n": np.int64(3)}}])
    assert arguments.body_of(document) == b'{"id": "a", "text": "b", "attributes": {"n": 3}}'


@pytest.mark.parametrize("none", [pd.NA, pd.NaT, np.ma.masked], ids=repr)
def test_a_filter_by_a_missing_value_is_an_error(none: Any) -> None:
    with pytest.raises(UsageError, match=r"filter=.* missing value"):
        arguments.body_of({"filter": {"attributes": {"year": {"gte": none}}}})


def test_labels_in_arrays_of_a_table_are_read(model: Any) -> None:
    """As pandas reads lists from Parquet."""
    for labels in (
        pd.Series([np.array(["a", "b"]), np.array([1, 2])]),
        pa.array([["a", "b"], ["1", "2"]]),
        [pa.array(["a", "b"]), np.ma.array([1, 2], mask=False)],
    ):
        index = texthash.Index(model, TEXTS, labels=labels)
        assert [document.labels for document in index.get(["0", "1"])] == [["a", "b"], ["1", "2"]]
    with pytest.raises(UsageError, match=r"labels\[0\] holds"):
        texthash.Index(model, TEXTS, labels=[np.ma.array([1, 2], mask=[1, 0]), "a"])
