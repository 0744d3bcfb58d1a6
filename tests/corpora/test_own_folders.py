"""Folders of one's own: every file below them is read, or counted and named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition
from texthash.corpora.catalog import open_source
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.readers.own import notes
from texthash.errors import CorpusError
from texthash.paths import StateDir


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a text of the file {path.stem}")
    return root


def read(root: Path) -> dict[str, Document]:
    source = open_source(CorpusConfig(name="mine", path=str(root)), StateDir(root.parent / "home"))
    return {document.id: document for document in source.documents()}


def said(root: Path) -> list[str]:
    return notes(CorpusConfig(name="mine", path=str(root)), StateDir(root.parent))


def test_linked_folders_are_followed_and_each_is_read_once(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "3.txt", "4.txt")
    root = put(tmp_path / "texts", "cook/1.txt", "sport/2.txt")
    (root / "travel").symlink_to(tmp_path / "elsewhere")
    (root / "sport" / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "cook")
    (root / "linked.txt").symlink_to(root / "cook" / "1.txt")
    found = read(root)
    assert {id_: d.labels for id_, d in found.items()} == {
        "cook/1.txt": ("cook",),
        "linked.txt": (),
        "sport/2.txt": ("sport",),
        "travel/3.txt": ("travel",),
        "travel/4.txt": ("travel",),
    }
    (note,) = said(root)
    assert "2 left out" in note
    assert "a link to a folder that is read already" in note
    assert "again, sport/loop" in note


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("Training", "dev", "testing"), ("train", "validation", "test")),
        (("train", "valid"), ("train", "validation")),
    ],
)
def test_folders_called_as_splits_are_splits(tmp_path: Path, names: tuple[str, ...], splits: tuple[str, ...]) -> None:
    root = put(tmp_path / "texts", *(f"{name}/cook/{name}.txt" for name in names))
    found = read(root)
    assert [(found[f"{n}/cook/{n}.txt"].split, found[f"{n}/cook/{n}.txt"].labels) for n in names] == [
        (split, ("cook",)) for split in splits
    ]


def test_labels_that_are_called_like_splits_stay_labels(tmp_path: Path) -> None:
    root = put(tmp_path / "texts", "dev/1.txt", "testing/2.txt", "ops/3.txt")
    assert {d.labels for d in read(root).values()} == {("dev",), ("testing",), ("ops",)}
    assert {d.split for d in read(root).values()} == {""}
    put(root, "train/4.txt")
    with pytest.raises(CorpusError, match=r"dev, testing, train, which are splits, beside ops") as raised:
        read(root)
    assert "rename" in raised.value.remedy


def test_texts_beside_a_table_are_counted_and_named(tmp_path: Path) -> None:
    root = put(tmp_path / "texts", *(f"cook/{number:02}.txt" for number in range(12)), ".hidden")
    (root / "rows.csv").write_text("id,text,label\n" + "".join(f"{n},word w{n % 3} text,l{n % 2}\n" for n in range(20)))
    edition = Edition(name="v1", stop_words=None)
    config = CorpusConfig(name="mine", path=str(root), edition=edition, shards=1)
    corpus = PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / "home")))
    warnings = corpus.manifest.warnings
    assert any("12 left out" in w and "cook/00.txt" in w and "and 2 more" in w for w in warnings), warnings
    assert any("1 left out" in w and "hidden" in w and ".hidden" in w for w in warnings), warnings


def test_nested_tables_have_ids_of_the_whole_path_and_splits_of_their_folder(tmp_path: Path) -> None:
    root = tmp_path / "tables"
    for name in ("train/a/rows.jsonl", "train/b/rows.jsonl", "val/rows.jsonl"):
        put(root, name).joinpath(name).write_text(json.dumps({"text": "x"}) + "\n")
    (root / "val" / "own.jsonl").write_text(json.dumps({"text": "x", "split": "test", "id": 7}) + "\n")
    assert {id_: d.split for id_, d in read(root).items()} == {
        "train/a/rows.jsonl:1": "train",
        "train/b/rows.jsonl:1": "train",
        "val/rows.jsonl:1": "validation",
        "7": "test",
    }


def test_what_is_no_file_is_named_and_does_not_block(tmp_path: Path) -> None:
    root = put(tmp_path / "texts", "cook/1.txt")
    os.mkfifo(root / "cook" / "pipe")
    (root / "link").symlink_to(root / "cook" / "pipe")
    assert list(read(root)) == ["cook/1.txt"]
    (note,) = said(root)
    assert "2 left out" in note
    assert "cook/pipe, link" in note


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    root = put(tmp_path / "texts", "1.txt")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")).write_text("x")
    with pytest.raises(CorpusError, match=r"caf\\xe9\.txt' is not UTF-8"):
        read(root)


def test_a_picture_among_texts_is_no_text_to_convert(tmp_path: Path) -> None:
    root = put(tmp_path / "texts", "1.txt")
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(CorpusError, match=r"picture\.png is no text: it holds zero bytes") as refused:
        read(root)
    assert "out of the folder" in refused.value.remedy


def test_json_is_a_table_where_there_is_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    root.mkdir()
    (root / "a.json").write_text('[{"id": 1, "text": "x"}]')
    (root / "b.json").write_text('{"id": 2, "text": "y"}\n{"id": 3, "text": "z"}\n')
    assert {id_: d.text for id_, d in read(root).items()} == {"1": "x", "2": "y", "3": "z"}
    put(root, "notes.txt")
    assert set(read(root)) == {"a.json", "b.json", "notes.txt"}
    (root / "c.jsonl").write_text('{"id": 4, "text": "y"}\n')
    assert set(read(root)) == {"4"}
    (note,) = said(root)
    assert "3 left out" in note
    assert "a.json, b.json, notes.txt" in note


def test_a_tab_file_of_rows_is_no_file_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("id\ttext\tlabel\n1\tx\ta\n")
    assert [(d.id, d.text, d.labels) for d in read(path).values()] == [("1", "x", ("a",))]
    path.write_text("id\tbody\tlabel\n1\tx\ta\n")
    with pytest.raises(CorpusError, match=r"rows\.tsv:1: there is no column 'text', only id, body, label") as raised:
        read(path)
    assert "corpus.text=body" in raised.value.remedy


def test_files_beside_questions_are_named(tmp_path: Path) -> None:
    root = tmp_path / "nq"
    root.mkdir()
    (root / "nq-train.json").write_text('[{"question": "q?", "positive_ctxs": [{"text": "a"}]}]')
    (root / "read.me").write_text("x")
    source = open_source(CorpusConfig(name="mine", path=str(root), format="dpr"), StateDir(tmp_path / "home"))
    assert [d.split for d in source.documents()] == ["train"]
    assert "read.me" in source.notes()[0]
