"""The New York Times corpus in its two published layouts, written here with other texts."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import pytest

from texthash.config import CorpusConfig, Edition, SplitRule
from texthash.corpora.catalog import available, open_source, records
from texthash.corpora.document import Document
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.manifest import Manifest
from texthash.corpora.readers import nyt
from texthash.errors import CorpusError
from texthash.paths import StateDir

FINE = sorted(nyt.PARENTS)
META = "".join(f"{number}: {name}\n" for number, name in enumerate(FINE, start=1)) + "#train: 9221 #val: 1152 #cat: 26"


def config(folder: Path, label_set: str | None = None, kind: str = "random") -> CorpusConfig:
    edition = Edition.model_validate({"split": SplitRule.model_validate({"kind": kind}), "label_set": label_set})
    return CorpusConfig(name="nyt", data_dir=str(folder), edition=edition, shards=1)


def read(folder: Path, label_set: str | None = None) -> list[Document]:
    return list(open_source(config(folder, label_set), StateDir(folder / "home")).documents())


def write_split(folder: Path) -> None:
    """As DHIM publishes it: number and text, quoted where it has commas."""
    folder.mkdir(exist_ok=True)
    (folder / "meta.txt").write_text(META)
    for name, count in (("train.csv", 9221), ("val.csv", 1152), ("test.csv", 1154)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            labels = islice(cycle(range(1, 27)), count)
            csv.writer(file).writerows(
                (label, f'"{name}", about {FINE[label - 1]}\nno. {n}') for n, label in enumerate(labels)
            )


def write_whole(folder: Path) -> None:
    """As WeSHClass publishes it; every tenth article has a coarse topic only."""
    folder.mkdir(exist_ok=True)
    labels = [nyt.PARENTS[name] if n % 10 == 0 else name for n, name in enumerate(islice(cycle(FINE), 13_081))]
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    (folder / "dataset.txt").write_text(
        "".join(f"caf\xe9 {n} about {label}\n" for n, label in enumerate(labels)), "utf-8"
    )


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    write_split(folder / "nyt")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_whole(folder / "nyt")
    return folder


def test_the_tree_has_26_fine_and_5_coarse_topics() -> None:
    assert len(nyt.PARENTS) == records()["nyt"].labels == 26
    assert len(set(nyt.PARENTS.values())) == 5
    assert not nyt.PARENTS.keys() & set(nyt.PARENTS.values())


def test_the_edition_of_the_hashing_papers(split: Path) -> None:
    documents = read(split)
    record = records()["nyt"]
    assert Counter(d.split for d in documents) == record.splits
    assert len(documents) == record.documents == 11_527
    assert documents[0].id == "train/0"
    assert documents[0].text == '"train.csv", about abortion\nno. 0'
    assert documents[0].labels == ("abortion",)
    assert {d.labels for d in read(split, "coarse")} == {
        ("arts",),
        ("business",),
        ("politics",),
        ("science",),
        ("sports",),
    }


def test_the_tree_is_in_the_manifest(split: Path, tmp_path: Path) -> None:
    for label_set, names, parents in (("fine", FINE, nyt.PARENTS), ("coarse", sorted(set(nyt.PARENTS.values())), {})):
        manifest = Manifest.read(prepare_corpus(config(split, label_set, "given"), StateDir(tmp_path / label_set)))
        assert manifest.documents == {"train": 9_221, "validation": 1_152, "test": 1_154}
        assert manifest.label_names == names
        assert manifest.label_parents == parents
        assert not manifest.multi_label


def test_the_whole_collection(whole: Path) -> None:
    documents = read(whole)
    assert len(documents) == 13_081
    assert Counter(d.excluded for d in documents) == {"": 11_772, "has no fine topic": 1_309}
    assert (documents[1].id, documents[1].text) == ("1", f"caf\xe9 1 about {FINE[1]}")
    coarse = read(whole, "coarse")
    assert not any(d.excluded for d in coarse)
    assert all(len(d.labels) == 1 for d in coarse)


def test_canonical_rows(split: Path, tmp_path: Path) -> None:
    rows = [{"id": d.id, "text": d.text, "labels": d.labels, "split": d.split} for d in read(split)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "nyt.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 1))
    assert [(d.id, d.text, d.labels, d.split) for d in read(tmp_path)] == [
        (row["id"], row["text"], row["labels"], row["split"]) for row in rows
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("meta.txt", "1: dance\n2 cooking\n", r"meta\.txt:2: '2 cooking' is not number: topic"),
        ("meta.txt", "1: cooking\n", r"meta\.txt:1: '1: cooking' is not number: topic"),
        ("train.csv", "1,text\n27,text\n", r"train\.csv:2: 2 cells, the first '27'; expected the number of a topic"),
        ("val.csv", "1,text,more\n", r"val\.csv:1: 3 cells, the first '1'"),
        ("test.csv", '1,"text', r"test\.csv:1: not CSV"),
        ("test.csv", "1,text\n", r"nyt in .* has 1 train, 1 validation, 1 test documents, not 9221 train"),
    ],
)
def test_broken_tables_name_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    small = {"meta.txt": META, "train.csv": "1,text\n", "val.csv": "2,text\n", "test.csv": "3,text\n", name: content}
    for file, text in small.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (b"one\ntwo\n", b"dance\n", r"labels\.txt ends before .*dataset\.txt, which continues in line 2"),
        (b"one\n", b"dance\nmusic\n", r"dataset\.txt ends before .*labels\.txt, which continues in line 2"),
        (b"one\ntwo\n", b"dance\ncooking\n", r"dataset\.txt:2: \['cooking'\] is not a topic of the tree"),
        (b"one\ncaf\xe9\n", b"dance\ndance\n", r"dataset\.txt:2: not utf-8 text"),
        (b"one\n", b"dance\n", r"has 1 documents, not 13081"),
    ],
)
def test_broken_lines_name_file_and_line(tmp_path: Path, texts: bytes, labels: bytes, message: str) -> None:
    (tmp_path / "dataset.txt").write_bytes(texts)
    (tmp_path / "labels.txt").write_bytes(labels)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path)


def test_a_corpus_that_is_not_at_hand_says_how_to_get_it(tmp_path: Path) -> None:
    assert not available("nyt", str(tmp_path), StateDir(tmp_path))
    with pytest.raises(CorpusError, match=r"(?s)nyt is not available.*train\.csv.*J-zin/DHIM.*WeSHClass"):
        read(tmp_path)
    assert not records()["nyt"].downloads
