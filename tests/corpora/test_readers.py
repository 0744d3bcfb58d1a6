"""Own corpora in every format, and what is wrong with them, by file and line."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.config import CorpusConfig
from texthash.corpora.document import Document
from texthash.corpora.readers import own, rows, tables
from texthash.errors import CorpusError
from texthash.paths import StateDir

EXPECTED = [("1", "one, two", ("a", "b"), "train"), ("2", 'three\n"four"', ("a",), "test"), ("3", "five", (), "")]


def read(path: Path) -> list[Document]:
    parts = own.parts(CorpusConfig(name="own", path=str(path)), StateDir(path.parent))
    return [document for part in parts for document in part()]


def essence(documents: list[Document]) -> list[tuple[str, str, tuple[str, ...], str]]:
    return [(d.id, d.text, d.labels, d.split) for d in documents]


def jsonl(rows: list[object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


ROWS = [{"id": i, "text": text, "labels": list(labels), "split": split} for i, text, labels, split in EXPECTED]
CSV = 'id,text,labels,split\n1,"one, two",a|b,train\n2,"three\n""four""",a,test\n3,five,,\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", jsonl(ROWS)),
        ("rows.jsonl.gz", gzip.compress(jsonl(ROWS), mtime=0)),
        ("rows.csv", CSV.encode()),
        ("rows.csv.gz", gzip.compress(("\ufeff" + CSV).encode(), mtime=0)),
    ],
)
def test_formats_give_the_same_documents(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert essence(read(tmp_path / name)) == EXPECTED
    assert essence(read(tmp_path)) == EXPECTED, "a folder of tables"


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert essence(read(tmp_path / "rows.parquet")) == EXPECTED


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
def test_pieces_of_a_file_are_the_file(tmp_path: Path, size: int, ending: str) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"word {'é' * n}", "labels": ["a"]}, ensure_ascii=False) for n in range(20)]
    path.write_bytes(ending.join([*lines[:9], "", *lines[9:]]).encode())  # a blank line; none ends the last
    pieces = tables.spans(path, size)
    assert len(pieces) >= {1: 20, 10_000: 1}.get(size, 2)
    found = [document for piece in pieces for document in rows.documents(path, piece)]
    assert found == list(rows.documents(path))
    assert [d.id for d in found[8:11]] == ["rows.jsonl:9", "rows.jsonl:11", "rows.jsonl:12"]
    path.write_bytes(path.read_bytes() + b"\n{")
    with pytest.raises(CorpusError, match=r"rows\.jsonl:22: cut off"):
        list(rows.documents(path, tables.spans(path, size)[-1]))


def test_pieces_of_parquet_are_row_groups(tmp_path: Path) -> None:
    table = pa.table({"text": [f"word {n}" for n in range(50)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=8)
    pieces = tables.spans(tmp_path / "rows.parquet", 150)
    assert 1 < len(pieces) < 7
    found = [document for piece in pieces for document in rows.documents(tmp_path / "rows.parquet", piece)]
    assert found == list(rows.documents(tmp_path / "rows.parquet"))


def test_a_folder_of_text_takes_labels_and_splits_from_its_folders(tmp_path: Path) -> None:
    for name in ("train/sport/1.txt", "test/sport/ball/2.txt", "train/3.txt", ".hidden/4.txt"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {path.stem}\nsecond line")
    assert essence(read(tmp_path / "texts")) == [
        ("test/sport/ball/2.txt", "text of 2\nsecond line", ("sport/ball",), "test"),
        ("train/3.txt", "text of 3\nsecond line", (), "train"),
        ("train/sport/1.txt", "text of 1\nsecond line", ("sport",), "train"),
    ]


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "label": 7, "title": "T"}\n{"text": null}\n')
    documents = read(tmp_path / "a.jsonl")
    assert [d.id for d in documents] == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4"]
    assert documents[1].labels == ("7",)
    assert documents[1].title == "T"
    assert documents[2].text == ""


GOOD = b'{"text": "good"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", GOOD + b"{text}\n", r"a\.jsonl:2: not JSON"),
        ("a.jsonl", GOOD + b"[1]\n", r"a\.jsonl:2: a list, not an object"),
        ("a.jsonl", GOOD + b'{"body": "x", "id": 1}\n', r"a\.jsonl:2: there is no column 'text', only body, id"),
        ("a.jsonl", GOOD + b'{"text": 5}\n', r"a\.jsonl:2: text is the number 5, not text"),
        ("a.jsonl", GOOD + b'{"text": "x", "split": "tst"}\n', r"a\.jsonl:2: split names no split: 'tst'"),
        ("a.jsonl", GOOD + b'{"text": "x", "labels": {"a": 1}}\n', r"a\.jsonl:2: labels is an object"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', r"a\.jsonl:1: not utf-8 text"),
        ("a.jsonl", GOOD * 9 + b'{"text": "caf\xe9"}\n' + GOOD, r"a\.jsonl:10: not utf-8 text: .*, byte 0xe9"),
        ("a.jsonl", GOOD * 3000 + b'{"text": "\xff"}\n', r"a\.jsonl:3001: not utf-8 text"),
        (
            "a.csv.gz",
            gzip.compress(b"text\n" + b"x\r\n" * 5000 + b"\xe9\n", mtime=0),
            r"a\.csv\.gz:5002: not utf-8 text",
        ),
        ("a.jsonl", GOOD * 2 + GOOD[:9], r"a\.jsonl:3: cut off"),
        (
            "a.jsonl.gz",
            gzip.compress(GOOD * 5000, mtime=0)[:-20],
            r"a\.jsonl\.gz:\d+: the gzip file is damaged or cut off",
        ),
        ("a.jsonl.gz", b"plain", r"a\.jsonl\.gz:1: the gzip file is damaged"),
        ("a.csv", b"text,label\nx,a\nx,a,b\n", r"a\.csv:3: 3 cells under a header of 2"),
        ("a.csv", b'text,label\n"x"y,a\n', r"a\.csv:2: not CSV"),
        ("a.csv", b"body,label\nx,a\n", r"a\.csv:1: there is no column 'text', only body, label"),
        ("a.jsonl", GOOD + b"[" * 100_000 + b"\n", r"a\.jsonl:2: not JSON"),
        ("a.jsonl", GOOD + b'{"text": "x", "id": ' + b"1" * 5000 + b"}\n", r"a\.jsonl:2: not JSON"),
        ("a.csv", b"text,label,text\nx,a,y\n", r"a\.csv:1: the column 'text' occurs twice"),
        ("a.csv", b'text\n"x\ny\n', r"a\.csv:3: not CSV: unexpected end of data"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet: not a readable Parquet file"),
        ("a.pdf", b"%PDF", r"a\.pdf has no supported format"),
    ],
)
def test_bad_input_names_file_and_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / name)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="does not exist"):
        read(tmp_path / "nowhere.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "pipe.jsonl", Path("/dev/zero")):  # neither is waited for
        with pytest.raises(CorpusError, match="neither a file nor a folder"):
            read(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="empty folder"):
        read(tmp_path / "empty")


def test_parquet_that_is_no_text_is_named(tmp_path: Path) -> None:
    binary = pa.array([b"good", b"caf\xe9"], pa.binary())
    cast = pa.Array.from_buffers(pa.string(), 2, binary.buffers())
    pq.write_table(pa.table({"text": cast}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet: not a readable Parquet file after row 0"):
        read(tmp_path)
    pq.write_table(pa.table({"text": binary}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet:1: text is bytes"):
        read(tmp_path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes("\ufeff".encode() + GOOD)
    assert [d.text for d in read(tmp_path)] == ["good"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.txt", "a.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(name)  # a link to itself: the one file that root cannot open either
    with pytest.raises(CorpusError, match=rf"{name}.*(cannot be read|not a readable).*Too many levels"):
        read(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and then fails to read")
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.txt"])
def test_a_disk_that_fails_is_named_with_the_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/proc/self/mem")
    with pytest.raises(CorpusError, match=rf"{name}:1: cannot be read: .*Input/output error"):
        read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_access_is_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "texts" / "sport").mkdir(parents=True)
    (tmp_path / "texts" / "1.txt").write_text("one")
    (tmp_path / "texts" / "sport").chmod(0)
    with pytest.raises(CorpusError, match=r"texts/sport cannot be read: Permission denied"):
        read(tmp_path / "texts")
    (tmp_path / "texts" / "sport").chmod(0o700)


def test_hidden_files_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "._a.jsonl").write_bytes(b"\0\5\26\7")
    assert [d.text for d in read(tmp_path)] == ["good"]


def test_splits_have_other_names_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    names = ["train", "val", "dev", "valid", "validation", "test", "all", ""]
    path.write_text("".join(json.dumps({"text": "a", "split": name}) + "\n" for name in names))
    found = [document.split for document in rows.documents(path)]
    assert found == ["train", *["validation"] * 4, "test", "", ""]
