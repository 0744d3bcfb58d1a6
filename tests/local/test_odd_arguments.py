"""Odd values for each argument of the front door and the clients: an error that says what is right, never another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import texthash
from texthash.client import Client, arguments, calls
from texthash.errors import TexthashError

TEXTS = ["sort an array", "sort a list of numbers", "open a file", "read a table of numbers", "plot a graph"]
_HUGE = 10**5000
ODD: dict[str, Any] = {
    "whole number of 5,000 digits": _HUGE,
    "negative one": -_HUGE,
    "list of one": [_HUGE],
    "mapping to one": {"a": _HUGE},
    "array": np.arange(3),
    "empty array": np.array([]),
    "array without dimension": np.array(3),
    "matrix": np.ones((2, 3)),
    "table": pd.DataFrame({"a": [1]}),
    "column": pd.Series([1, 2]),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "NaN": float("nan"),
    "number": 2.5,
    "text": "x",
    "half a character": "\ud800",
    "no character": "\0",
    "nested lists": [[["x"]]],
    "class": int,
}


@pytest.fixture(scope="module")
def index() -> texthash.Index:
    model = texthash.train("lsh", TEXTS, bits=8)
    return texthash.Index(model, TEXTS, attributes=[{"year": year, "kind": "a"} for year in range(5)])


def doors(index: texthash.Index, odd: Any, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what takes the odd value in place of each argument, by name."""
    model = index.model
    given = {"queries": {"q": "sort"}, "documents": {"a": "sort", "b": "open"}, "qrels": {"q": ["a"]}, "k": [1]}
    for name in ("method", "texts", "bits", "labels", "queries", "params", "validation", "epochs", "seed", "edition"):
        yield f"train {name}", lambda n=name: texthash.train(**{"method": "lsh", "texts": TEXTS, "bits": 8, n: odd})
    for name in (
        "texts",
        "ids",
        "labels",
        "attributes",
        "titles",
        "title_weight",
        "title_brevity",
        "bm25_k1",
        "bm25_b",
    ):
        yield f"Index {name}", lambda n=name: texthash.Index(model, **{"texts": TEXTS, n: odd})
    for name in ("ids", "labels", "attributes", "titles"):
        yield f"Index {name}[0]", lambda n=name: texthash.Index(model, TEXTS[:1], **{n: [odd]})
    yield "Index vectors", lambda: texthash.Index(model, vectors=odd)
    for name in ("query", "k", "mode", "weight", "rescore", "radius", "labels", "filter", "candidates", "threads"):
        yield f"search {name}", lambda n=name: index.search(**{"query": "sort", n: odd})
    yield "search vectors", lambda: index.search(vectors=odd)
    for name in ("filter", "sort", "page"):
        yield f"scroll {name}", lambda n=name: list(index.scroll(**{n: odd}))
    for member in ("eq", "in", "gt", "prefix", "exists"):
        yield f"count {member}", lambda m=member: index.count({"attributes": {"year": {m: odd}}})
    yield "facets", lambda: index.facets(odd)
    yield "get", lambda: index.get(odd)
    yield "encode", lambda: model.encode(["sort"], role=odd)
    yield "encode_vectors", lambda: model.encode_vectors(odd)
    yield "cut", lambda: model.cut(odd)
    for name in ("model", "queries", "documents", "qrels", "k", "threads"):
        yield f"evaluate {name}", lambda n=name: texthash.evaluate(**{"model": model, **given, n: odd})
    for qrels in (odd, {"q": odd}, {"q": [odd]}, {"q": {"a": odd}}):
        yield "qrels", lambda q=qrels: texthash.evaluate(model, **{**given, "qrels": q})
    for name in ("judged", "gain"):
        yield f"evaluate {name}", lambda n=name: texthash.evaluate(model, **{"judged": folder, n: odd})
    yield "load", lambda: texthash.load(odd)
    yield "open", lambda: texthash.Index.open(odd)
    yield "open_corpus", lambda: texthash.open_corpus(odd)
    yield "open_corpus edition", lambda: texthash.open_corpus("none", odd)
    for name in ("name", "path", "edition", "limit", "shards"):
        yield f"prepare {name}", lambda n=name: texthash.prepare(**{"name": "x", "path": folder / "none", n: odd})
    for name in ("url", "timeout_s", "retries", "key"):
        yield f"Client {name}", lambda n=name: Client(**{n: odd}).close()
    for name in ("queries", "vector", "limit", "filter", "facets", "rerank"):
        yield f"client.search {name}", lambda n=name: sent(calls.search(**{"queries": "x", n: odd}))
    yield "client.upsert", lambda: sent(calls.upsert(odd))
    yield "client.upsert wait", lambda: sent(calls.upsert([{"id": "1", "text": "x"}], wait=odd))
    yield "client.delete", lambda: sent(calls.delete(ids=odd))


def sent(call: calls.Call[Any]) -> None:
    if call.body is not None:
        arguments.body_of(call.body)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_value_is_used_or_refused(
    index: texthash.Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(tmp_path / "home"))
    raised = {}
    for door, call in doors(index, ODD[kind], tmp_path):
        try:
            call()
        except TexthashError:
            continue
        except Exception as error:  # noqa: BLE001  (what else is raised is what this test looks for)
            raised[door] = f"{type(error).__name__}: {error}"[:200]
    assert raised == {}


def test_a_column_of_ids_is_that_of_documents(index: texthash.Index) -> None:
    for ids in (np.array(["1", "3"]), pd.Series([1, 3])):
        assert [document.id for document in index.get(ids)] == ["1", "3"]
    assert index.get([]) == []
