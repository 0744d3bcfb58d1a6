"""Imports of codes that are wrong somewhere: refused by file and row, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpora.embeddings.conftest import tiny_encoder
from tests.deployment.test_code_exchange import everything
from tests.index.test_vectors import featured, kept, put
from tests.index.test_vectors import home as vectors_home
from tests.index.test_writer import built, home
from tests.service.test_document_ids import AWKWARD
from texthash.hamming.interop import write_codes
from texthash.index.releases.release import open_release, read_release
from texthash.index.releases.verify import verify
from texthash.index.writing.writer import IndexWriter
from texthash.paths import StateDir

__all__ = ["built", "featured", "home", "tiny_encoder", "vectors_home"]  # fixtures
Cli = Callable[..., tuple[int, str, str]]


def table(**columns: object) -> pa.Table:
    ids = columns.pop("id", ["a", "b"])
    return pa.table({"id": ids, "code": pa.array([b"abcd", b"efgh"], pa.binary(4)), **columns})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": ["a", "a"]}, "codes.parquet:2: the id 'a' occurs twice"),
        ({"id": ["a", ""]}, "codes.parquet:2: id: String should have at least 1 character"),
        ({"id": ["a", "x" * 513]}, "codes.parquet:2: id: String should have at most 512 characters"),
        ({"id": ["a", None]}, "codes.parquet:2: the id is missing"),
        ({"title": ["a", "t" * 10_001]}, "codes.parquet:2: title: String should have at most 10000 characters"),
        ({"title": [["a"], ["b"]]}, "codes.parquet:1: title is a list"),
        ({"text": ["a", "é" * 600_000]}, "codes.parquet:2: the text of 'b' has 1,200,000 bytes"),
        ({"text": [1, 2]}, "codes.parquet:1: text is the number 1, not text"),
        ({"labels": [["a"], ["l" * 513]]}, "codes.parquet:2: labels.0: String should have at most 512 characters"),
        ({"labels": [["a"], [f"l{n}" for n in range(257)]]}, "codes.parquet:2: labels: List should have at most 256"),
        ({"labels": ["a", "['a', 'b']"]}, "codes.parquet:2: labels is text that looks like a list"),
        ({"labels": [1.5, 2.5]}, "codes.parquet:1: labels is the number 1.5"),
        ({"known_words": ["yes", "no"]}, "the column known_words is of the type string"),
    ],
)
def test_a_row_that_no_upsert_takes_is_named(
    home: StateDir, tmp_path: Path, run_cli: Cli, columns: dict[str, Any], says: str
) -> None:
    before, release = everything(home), read_release(home)
    pq.write_table(table(**columns), tmp_path / "codes.parquet")
    status, _, said = run_cli("--home", str(home.root), "index", "import", str(tmp_path / "codes.parquet"), "--yes")
    assert (status, says in said, "Traceback" in said) == (1, True, False), said
    assert (everything(home), read_release(home)) == (before, release)


@pytest.mark.parametrize("name", ["codes.tsv", "codes.tsv.gz", "codes.npy"])
@pytest.mark.parametrize(
    ("ids", "says"), [(["a", "a"], ":2: the id 'a' occurs twice"), (["a", "x" * 513], ":2: id: String should have")]
)
def test_ids_of_every_format_are_checked(
    home: StateDir, tmp_path: Path, run_cli: Cli, name: str, ids: list[str], says: str
) -> None:
    write_codes(tmp_path / name, np.zeros((2, 4), np.uint8), ids)
    if name == "codes.npy":
        write_codes(tmp_path / "codes.npy.ids.parquet", np.zeros((2, 4), np.uint8), ids)
    release = read_release(home)
    status, _, said = run_cli("--home", str(home.root), "index", "import", str(tmp_path / name))
    assert (status, says in said) == (1, True), said
    assert read_release(home) == release


@pytest.mark.parametrize("width", [2, 8])
def test_codes_of_another_width_are_refused(home: StateDir, tmp_path: Path, run_cli: Cli, width: int) -> None:
    write_codes(tmp_path / "c.tsv", np.zeros((3, width), np.uint8), ["a", "b", "c"])
    status, _, said = run_cli("--home", str(home.root), "index", "import", str(tmp_path / "c.tsv"))
    assert (status, f"codes of {8 * width} bits, but the index holds those of 32" in said) == (1, True), said


@pytest.mark.parametrize("name", ["c.tsv", "c.tsv.gz", "c.parquet", "c.npy"])
def test_any_id_is_imported_and_read(home: StateDir, tmp_path: Path, run_cli: Cli, name: str) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (len(AWKWARD), 4), np.uint8)
    write_codes(tmp_path / name, codes, AWKWARD)
    if name == "c.npy":
        write_codes(tmp_path / "c.npy.ids.parquet", codes, AWKWARD)
    before = everything(home)
    status, out, said = run_cli("--home", str(home.root), "index", "import", str(tmp_path / name))
    assert (status, said.count("Traceback")) == (0, 0), said
    assert json.loads(out)["new"] == len(AWKWARD)
    found = everything(home)
    assert {id_: found[id_]["code"] for id_ in AWKWARD} == {
        id_: code.tobytes() for id_, code in zip(AWKWARD, codes, strict=True)
    }
    for id_ in ("a/../b", ".", "..", "%2f", "a\nb", "'", '"', "--", "😀", "x" * 512):
        status, out, said = run_cli("--home", str(home.root), "index", "show", "--json", "--", id_)
        assert (status, json.loads(out)["id"]) == (0, id_), said
    assert json.loads(run_cli("--home", str(home.root), "index", "import", str(tmp_path / name))[1])["new"] == 0
    with IndexWriter.open(home) as writer:
        assert writer.delete(ids=AWKWARD).documents == len(AWKWARD)
    assert everything(home) == before


def test_labels_have_the_forms_of_other_tables(home: StateDir, tmp_path: Path, run_cli: Cli) -> None:
    pq.write_table(table(id=[7, 8], label=["a", None], title=[None, 3.0]), tmp_path / "c.parquet")
    assert run_cli("--home", str(home.root), "index", "import", str(tmp_path / "c.parquet"))[0] == 0
    found = everything(home)
    assert [(found[id_]["labels"], found[id_]["title"]) for id_ in "78"] == [(["a"], ""), ([], "3")]


def test_a_service_that_is_the_writer_is_named_with_what_can_be_done(
    home: StateDir, tmp_path: Path, run_cli: Cli
) -> None:
    write_codes(tmp_path / "c.tsv", np.zeros((1, 4), np.uint8), ["a"])
    with IndexWriter.open(home, "http://127.0.0.1:1"):
        for words in (("import", str(tmp_path / "c.tsv")), ("add-keywords",)):
            status, _, said = run_cli("--home", str(home.root), "index", *words)
            assert (status, "the service at http://127.0.0.1:1" in said) == (1, True), said
            assert "remedy: end the service, then run the command again" in said
            assert "write through" not in said
    assert run_cli("--home", str(home.root), "index", "import", str(tmp_path / "c.tsv"))[0] == 0


def test_vectors_come_back_with_the_documents(vectors_home: StateDir, tmp_path: Path, run_cli: Cli) -> None:
    home, file = vectors_home, str(tmp_path / "c.parquet")
    put(home, {"new/1": "sort the rows of a sparse array", "odd": "qwrtz blorf"})
    before, vectors = everything(home), kept(open_release(home))
    assert run_cli("--home", str(home.root), "index", "export", file)[0] == 0
    with IndexWriter.open(home) as writer:
        writer.delete(ids=[*list(before)[:40], "new/1", "odd"])
    status, out, said = run_cli("--home", str(home.root), "index", "import", file)
    assert (status, json.loads(out)["new"]) == (0, 42), said
    assert (everything(home), kept(open_release(home))) == (before, vectors)
    assert [finding for finding in verify(home, sample=100) if not finding.ok] == []


def test_codes_alone_leave_vectors_as_they_are(vectors_home: StateDir, tmp_path: Path, run_cli: Cli) -> None:
    home, file = vectors_home, str(tmp_path / "c.tsv")
    before, vectors = everything(home), kept(open_release(home))
    assert run_cli("--home", str(home.root), "index", "export", file)[0] == 0
    assert run_cli("--home", str(home.root), "index", "import", file)[0] == 0
    assert (everything(home), kept(open_release(home))) == (before, vectors)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda vector: vector[:-1], "numbers, those of the index have"),
        (lambda vector: [float("nan"), *vector[1:]], "has nan at position 0"),
        (lambda vector: [float("inf"), *vector[1:]], "has inf at position 0"),
        (lambda vector: [0.0] * len(vector), "is zero, which has no direction"),
        (lambda vector: [None, *vector[1:]], "has an empty place"),
        (lambda vector: None, "has documents without a vector"),
    ],
)
def test_a_vector_that_cannot_be_stored_is_named_before_anything_is_written(
    vectors_home: StateDir, tmp_path: Path, run_cli: Cli, change: Callable[[list], object], says: str
) -> None:
    home, file = vectors_home, tmp_path / "c.parquet"
    run_cli("--home", str(home.root), "index", "export", str(file))
    exported = pq.read_table(file)
    rows = exported["vector"].to_pylist()
    rows[1200] = change([float(number) for number in rows[1200]])
    place = exported.schema.names.index("vector")
    pq.write_table(exported.set_column(place, "vector", pa.array(rows, pa.list_(pa.float32()))), file)
    release = read_release(home)
    status, _, said = run_cli("--home", str(home.root), "index", "import", str(file), "--yes")
    assert (status, says in said, "Traceback" in said) == (1, True, False), said
    assert read_release(home) == release


def test_vectors_are_brought_to_length_one(vectors_home: StateDir, tmp_path: Path, run_cli: Cli) -> None:
    home, file = vectors_home, tmp_path / "c.parquet"
    vectors = kept(open_release(home))
    run_cli("--home", str(home.root), "index", "export", str(file))
    exported = pq.read_table(file)
    longer = pa.array([[3e4 * float(n) for n in row] for row in exported["vector"].to_pylist()], pa.list_(pa.float32()))
    pq.write_table(exported.set_column(exported.schema.names.index("vector"), "vector", longer), file)
    assert run_cli("--home", str(home.root), "index", "import", str(file))[0] == 0
    found = kept(open_release(home))
    assert found.keys() == vectors.keys()
    assert all(np.allclose(found[id_], vectors[id_], atol=2e-3) for id_ in vectors)
