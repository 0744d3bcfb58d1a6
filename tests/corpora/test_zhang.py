"""AG News, DBpedia and Yahoo! Answers in each form they are published in, and what is wrong with a file, by line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections import Counter
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from texthash.config import CorpusConfig
from texthash.corpora.catalog import available, open_source, readers, records
from texthash.corpora.document import Document
from texthash.errors import CorpusError
from texthash.paths import StateDir

NAMES = ("agnews", "dbpedia", "yahoo_answers")
# Class number from 1, then the columns of text, as they stand between the quotes.
AGNEWS = {
    "train": [
        ("3", "Wall St. Bears (Reuters)", r'Reuters - Short-sellers, dwindling\band, a\new ""record""'),
        ("1", "Second", "One, two"),
    ],
    "test": [("4", "Ångström", "A \\$100 chip")],
}
DBPEDIA = {
    "train": [("1", "E. D. Abbott Ltd", " Abbott of Farnham was a British coachbuilder."), ("14", "Book", " A novel.")],
    "test": [("2", "School", " A school.")],
}
YAHOO = {
    "train": [
        ("5", "why doesn't a mouse work on glass?", "or on some surfaces?", r"It's optical.\nIt sees nothing."),
        ("6", "Trail ?", "", "Mojave road"),
        ("10", "Vote", "", ""),
    ],
    "test": [("9", "Friendship?", "How?", "communication")],
}
CONTENT = {"agnews": AGNEWS, "dbpedia": DBPEDIA, "yahoo_answers": YAHOO}
FOLDERS = {"agnews": "ag_news_csv", "dbpedia": "dbpedia_csv", "yahoo_answers": "yahoo_answers_csv"}
EXPECTED = {
    "agnews": [
        ("train/0", r'Wall St. Bears (Reuters) Reuters - Short-sellers, dwindling\band, a\new "record"', "Business"),
        ("train/1", "Second One, two", "World"),
        ("test/0", r"Ångström A \$100 chip", "Sci/Tech"),
    ],
    "dbpedia": [
        ("train/0", "E. D. Abbott Ltd  Abbott of Farnham was a British coachbuilder.", "Company"),
        ("train/1", "Book  A novel.", "WrittenWork"),
        ("test/0", "School  A school.", "EducationalInstitution"),
    ],
    "yahoo_answers": [
        (
            "train/0",
            "why doesn't a mouse work on glass? or on some surfaces? It's optical.\nIt sees nothing.",
            "Computers & Internet",
        ),
        ("train/1", "Trail ? Mojave road", "Sports"),
        ("train/2", "Vote", "Politics & Government"),
        ("test/0", "Friendship? How? communication", "Family & Relationships"),
    ],
}


def table(rows: list[tuple[str, ...]]) -> bytes:
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()


def unquoted(row: tuple[str, ...]) -> list[str]:
    return next(csv.reader([table([row]).decode()]))


def put_folder(name: str, place: Path) -> None:
    folder = place / FOLDERS[name]
    folder.mkdir(parents=True)
    (folder / "classes.txt").write_text("names\n")
    for split, rows in CONTENT[name].items():
        (folder / f"{split}.csv").write_bytes(table(rows))


def put_archive(name: str, place: Path, suffix: str = ".tar.gz") -> None:
    with tarfile.open(place / f"{FOLDERS[name]}{suffix}", "w:gz") as archive:
        for split in ("test", "train"):  # their order in the archive decides nothing
            for prefix, content in (("._", b"\0"), ("", table(CONTENT[name][split]))):
                member = tarfile.TarInfo(f"{FOLDERS[name]}/{prefix}{split}.csv")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def put_parquet(name: str, place: Path) -> None:
    for path in readers()[name].TABLE.parquet:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
    for split, rows in CONTENT[name].items():
        cells = [unquoted(row) for row in rows]
        numbers = pa.array([int(row[0]) - 1 for row in cells], pa.int64())
        if name == "agnews":
            columns = {"text": [" ".join(row[1:]) for row in cells], "label": numbers}
        elif name == "dbpedia":
            columns = {"label": numbers, "title": [row[1] for row in cells], "content": [row[2] for row in cells]}
        else:
            columns = {"id": pa.array(range(len(cells)), pa.int32()), "topic": numbers}
            columns |= {
                column: [row[i] for row in cells]
                for i, column in enumerate(("question_title", "question_content", "best_answer"), start=1)
            }
        paths = [place / path for path in readers()[name].TABLE.parquet if Path(path).name.startswith(split)]
        whole = pa.table(columns)
        cut = len(whole) // len(paths)
        for number, path in enumerate(paths):
            pq.write_table(whole.slice(number * cut, cut if number + 1 < len(paths) else None), path)


def read(name: str, place: Path) -> list[Document]:
    source = open_source(CorpusConfig(name=name, data_dir=str(place)), StateDir(place / "home"))
    return list(chain.from_iterable(part() for part in source.parts()))


@pytest.mark.parametrize("put", [put_folder, put_archive, put_parquet])
@pytest.mark.parametrize("name", NAMES)
def test_each_form_gives_the_same_documents(name: str, put, tmp_path: Path) -> None:
    put(name, tmp_path)
    assert available(name, str(tmp_path))
    documents = read(name, tmp_path)
    assert [(d.id, d.text, *d.labels) for d in documents] == EXPECTED[name]
    assert [d.split for d in documents] == [d.id.split("/")[0] for d in documents]
    titles = [unquoted(row)[1] for rows in CONTENT[name].values() for row in rows]
    if not (name == "agnews" and put is put_parquet):  # where title and text are one column
        assert [d.title for d in documents] == titles


@pytest.mark.parametrize("name", NAMES)
def test_what_is_published_is_what_the_reader_looks_for(name: str, tmp_path: Path) -> None:
    record = records()[name]
    assert sum(record.splits.values()) == record.documents
    assert len(readers()[name].TABLE.classes) == record.labels
    for download in record.downloads:
        put_archive(name, tmp_path, download.file.removeprefix(FOLDERS[name]))
        assert len(read(name, tmp_path)) == len(EXPECTED[name])


def test_the_folder_comes_before_the_archive_and_may_be_compressed(tmp_path: Path) -> None:
    put_archive("dbpedia", tmp_path)
    folder = tmp_path / "dbpedia_csv"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.csv.gz").write_bytes(gzip.compress(table([("7", split, "text")])))
    documents = read("dbpedia", tmp_path)
    assert [(d.text, *d.labels) for d in documents] == [("train text", "Building"), ("test text", "Building")]
    assert documents[0].origin.endswith("train.csv.gz:1")


def test_rows_are_read_as_they_are_and_marked_where_others_cut_them(tmp_path: Path) -> None:
    rows = [
        {"id": "a/1", "text": "A text", "labels": ["Film"], "split": "all"},
        {"id": "b/1", "text": "A text .", "labels": ["Film"], "split": "all", "tokenized": True},
        {"id": "c/1", "text": r"a\new", "labels": ["Plant"], "split": "test"},
    ]
    (tmp_path / "dbpedia14_partial.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    found = [(d.id, d.text, d.labels, d.split, d.remark) for d in read("dbpedia", tmp_path)]
    assert found == [
        ("a/1", "A text", ("Film",), "", ""),
        ("b/1", "A text .", ("Film",), "", "text already cut into words"),
        ("c/1", r"a\new", ("Plant",), "test", ""),
    ]


GOOD = b'"1","title","text"\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b'"1","title"\n', r"train\.csv:2: 2 columns, not 3"),
        (GOOD + b'"1","title","text","more"\n', r"train\.csv:2: 4 columns, not 3"),
        (GOOD + b'"0","title","text"\n', r"train\.csv:2: the class is '0', not a number from 1 to 4"),
        (GOOD + b'"5","title","text"\n', r"train\.csv:2: the class is '5', not a number from 1 to 4"),
        (b'"Class Index","Title","Description"\n' + GOOD, r"train\.csv:1: the class is 'Class Index'"),
        (GOOD + b'"1","ti"tle","text"\n', r"train\.csv:2: not CSV"),
        (GOOD + b'"1","title","cut o', r"train\.csv:2: not CSV"),
        (GOOD + b'"1","caf\xe9","text"\n', r"train\.csv:\d: not utf-8 text"),
    ],
)
def test_bad_csv_names_file_and_line(content: bytes, message: str, tmp_path: Path) -> None:
    put_folder("agnews", tmp_path)
    (tmp_path / "ag_news_csv" / "train.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read("agnews", tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    put_archive("agnews", tmp_path)
    path = tmp_path / "ag_news_csv.tar.gz"
    content = path.read_bytes()
    for damaged in (content[:-60], content[: len(content) // 2], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=r"ag_news_csv\.tar\.gz.*damaged or cut off"):
            read("agnews", tmp_path)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("ag_news_csv/train.csv")
        member.size = len(GOOD)
        archive.addfile(member, io.BytesIO(GOOD))
    with pytest.raises(CorpusError, match=r"ag_news_csv\.tar\.gz holds no test\.csv"):
        read("agnews", tmp_path)


def test_bad_rows_in_an_archive_are_named_by_its_member(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ag_news_csv.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("ag_news_csv/train.csv")
        member.size = 2 * len(GOOD)
        archive.addfile(member, io.BytesIO(GOOD + GOOD.replace(b"1", b"9")))
    with pytest.raises(CorpusError, match=r"ag_news_csv\.tgz:ag_news_csv/train\.csv:2: the class is '9'"):
        read("agnews", tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", "b"], "label": [0, 4]}, r"parquet:2: the class is 4, not a number from 0 to 3"),
        ({"text": ["a", "b"], "label": [0, None]}, r"parquet:2: the class is None"),
        ({"content": ["a"], "label": [0]}, r"parquet:1: there is no column text"),
        ({"text": [1], "label": [0]}, r"parquet:1: text is not text"),
    ],
)
def test_bad_parquet_names_file_and_row(columns: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    put_parquet("agnews", tmp_path)
    pq.write_table(pa.table(columns), tmp_path / readers()["agnews"].TABLE.parquet[0])
    with pytest.raises(CorpusError, match=message):
        read("agnews", tmp_path)


def test_a_corpus_that_is_not_at_hand_says_what_to_get(tmp_path: Path) -> None:
    assert not available("yahoo_answers", str(tmp_path), StateDir(tmp_path))
    with pytest.raises(CorpusError, match=r"yahoo_answers is not available: .*yahoo_answers_csv\.tgz"):
        read("yahoo_answers", tmp_path)


@pytest.mark.parametrize(("name", "documents", "split"), [("agnews", 59_541, "test"), ("dbpedia", 31_255, "")])
def test_real_rows(name: str, documents: int, split: str, corpora_at_hand: Path) -> None:
    found = read(name, corpora_at_hand)
    assert len(found) == documents == len({d.id for d in found})
    assert {label for d in found for label in d.labels} == set(readers()[name].TABLE.classes)
    assert Counter(d.split for d in found)[split] == (7_600 if name == "agnews" else documents)
