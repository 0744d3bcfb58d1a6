"""What may hold texts, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from texthash.errors import TexthashError, UsageError
from texthash.local.index import Index
from texthash.local.texts import as_labels, as_texts, check_unique

TWO = ["one text", "another"]


class Dataset:
    """The part of ``ray.data.Dataset`` that is used, without a cluster."""

    def columns(self):
        return ["text"]

    def select_columns(self, names):
        assert names == ["text"]
        return self

    def take_all(self):
        return [{"text": text} for text in TWO]


@pytest.mark.parametrize(
    "texts",
    [
        TWO,
        tuple(TWO),
        iter(TWO),
        np.array(TWO),
        np.array(TWO, object),
        pd.Series(TWO, index=[7, 3]),
        pd.DataFrame({"text": TWO}),
        pa.array(TWO),
        pa.chunked_array([TWO[:1], TWO[1:]]),
        pa.table({"text": TWO}),
        Dataset(),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_whatever_holds_a_column_of_texts_is_read(texts):
    assert as_texts(texts) == TWO


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "is one text"),
        (b"bytes", "is one text"),
        ({"a": "text"}, "is a mapping"),
        (["text", None], r"texts\[1\] is None"),
        ([1], r"texts\[0\] is 1, a int"),
        (7, "is a int"),
        (pa.table({"body": TWO}), "without a column 'text'; it has body"),
        (pd.DataFrame({"body": TWO}), "without a column 'text'; it has body"),
    ],
    ids=str,
)
def test_what_is_no_column_of_texts_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        as_texts(texts)


def test_labels_are_strings_numbers_or_lists_of_them():
    assert as_labels(["a", None, ["b", "c"], 3, float("nan"), np.int64(4)], 6) == [
        ["a"],
        [],
        ["b", "c"],
        ["3"],
        [],
        ["4"],
    ]
    assert as_labels(pd.Series([1, 2]), 2) == [["1"], ["2"]]
    assert as_labels(None, 3) is None
    for wrong in ([1.5], [True], [{"a": 1.0}.values()]):
        with pytest.raises(UsageError, match=r"labels\[0\]"):
            as_labels(wrong, 1)
    with pytest.raises(UsageError, match="1 labels for 2 texts"):
        as_labels(["a"], 2)


def test_an_id_that_occurs_twice_is_named():
    check_unique(["a", "b"])
    with pytest.raises(UsageError, match="'b' twice"):
        check_unique(["b", "a", "b"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("goal", "texts='goal' is one text"),
        (b"goal", "is one text"),
        ({"a": "goal"}, "texts is a dict"),
        (pd.DataFrame({"text": TWO}), "texts is a DataFrame"),
        (np.array([TWO]), "texts is a ndarray"),
        (iter(TWO), "give a list of texts"),
        (["goal", None], r"texts\[1\] is None, a NoneType"),
        (pd.Series(["goal", float("nan")]), r"texts\[1\] is nan"),
        ([b"goal"], r"texts\[0\] is b'goal', a bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_model_encodes_lists_of_texts_alone(model, texts, message):
    with pytest.raises(UsageError, match=message):
        model.encode(texts)


def test_a_lone_surrogate_is_refused_before_it_is_stored(model):
    with pytest.raises(UsageError, match=r"texts\[1\] is not Unicode text: a lone surrogate at character 5"):
        Index(model, ["goal", "goal \ud800"])
    with pytest.raises(UsageError, match=r"ids\[0\] is not Unicode text"):
        Index(model, TWO, ids=["\ud800", "x"])


@pytest.mark.parametrize("k", [2.5, True, "5", None, float("nan")])
def test_the_number_of_hits_is_a_whole_number(model, k):
    index = Index(model, ["sort an array", "open a file"])
    with pytest.raises(UsageError, match=r"the number k of documents is .*, a \w+\."):
        index.search("sort", k=k)
    assert len(index.search("sort", k=np.int64(2))) == 2
    if k is not None:
        with pytest.raises(TexthashError, match=r"the radius is .*, a \w+"):
            index.search("sort", radius=k)
