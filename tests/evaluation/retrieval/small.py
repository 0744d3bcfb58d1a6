"""A small test collection in the layout of BEIR."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import DATA

DOCUMENTS = {
    "d1": ("Sorting", "sort an array of numbers"),
    "d2": ("", "sort a list of names"),
    "d3": ("Open a file", "Open a file and read it"),
    "d4": ("Tables", "read a table from a file"),
    "d5": ("Plots", "plot a graph of numbers"),
}
QUERIES = {"q1": "sort numbers", "q2": "read a file", "q3": "plot", "q4": "nothing relevant"}
QRELS = {"q1": {"d1": 2, "d2": 1, "d5": 0}, "q2": {"d3": 1, "d4": 2}, "q4": {"d1": 0}}


def write_collection(folder: Path, **qrels: dict[str, dict[str, int]]) -> Path:
    """Write the collection, with the judgements of the named files, by default those of ``test.tsv``."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": id_, "title": title, "text": text} for id_, (title, text) in DOCUMENTS.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": id_, "text": text} for id_, text in QUERIES.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    for name, judged in (qrels or {"test": QRELS}).items():
        lines = [f"{query}\t{id_}\t{grade}\n" for query, own in judged.items() for id_, grade in own.items()]
        (folder / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def real_collection(name: str) -> Path:
    """Return the folder of a real collection, which is not part of the repository; skips the test without it."""
    found = DATA / "retrieval" / name
    if not found.is_dir():
        pytest.skip(f"no folder {found}; TEXTHASH_TEST_DATA names the folder of real corpora")
    return found
